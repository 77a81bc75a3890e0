// The pure half of the pipeline; test_safety.py has the whole of it in a browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { blocksOf, escapeHtml } from "../../../airust/ui/markdown.js";

const htmlOf = (text) => blocksOf(text).map((block) => block.html).join("");

test("a text falls into blocks, and only the last one changes while it grows", () => {
  const text = "# Title\n\nSome *words*.\n\n```rust\nfn main() {}\n```\n\n- one\n- two\n";
  const all = blocksOf(text).map((block) => block.html);
  assert.equal(all.length, 4);
  for (let end = 1; end < text.length; end++) {
    const now = blocksOf(text.slice(0, end)).map((block) => block.html);
    const settled = now.slice(0, -1);
    assert.deepEqual(settled, all.slice(0, settled.length), JSON.stringify(text.slice(0, end)));
  }
});

test("tables, code and lists", () => {
  assert.match(htmlOf("| a | b |\n|---|--:|\n| 1 | 2 |"), /<table>.*<th align="right">b<\/th>.*<td>1<\/td>/s);
  assert.match(htmlOf("```rust\nlet x = 1 < 2;\n```"), /data-language="rust">let x = 1 &lt; 2;/);
  assert.match(htmlOf("1. one\n2. two"), /<ol>\s*<li>one/);
  assert.match(htmlOf("- [x] done"), /<input[^>]*checked/);
});

test("formulas in a line and on their own", () => {
  assert.match(htmlOf("so $x^2$ is"), /class="math" data-display="0">x\^2</);
  assert.match(htmlOf("\\(a < b\\)"), /data-display="0">a &lt; b</);
  assert.match(htmlOf("$$\n\\frac{1}{2}\n$$"), /data-display="1">\\frac\{1\}\{2\}</);
  assert.match(htmlOf("\\[\nx_1 * y_2 * z\n\\]"), /data-display="1">x_1 \* y_2 \* z</);
  assert.match(htmlOf("$a_1 * b_2 * c$"), /data-display="0">a_1 \* b_2 \* c</);
});

test("prices and code are no formulas", () => {
  assert.doesNotMatch(htmlOf("It costs $5 or $6."), /math/);
  assert.doesNotMatch(htmlOf("`$x$`"), /math/);
  assert.doesNotMatch(htmlOf("```\n$x$\n```"), /math/);
});

test("HTML of the model is shown, never obeyed", () => {
  const html = htmlOf("<script>alert(1)</script>\n\n<img src=x onerror=alert(1)> and <b onclick=x>b</b>");
  assert.doesNotMatch(html, /<script|<img|<b /);
  assert.match(html, /&lt;script&gt;/);
});

test("images of other hosts are links", () => {
  assert.match(htmlOf("![a cat](http://elsewhere/cat.png)"), /<a href="http:\/\/elsewhere\/cat.png">a cat<\/a>/);
  assert.doesNotMatch(htmlOf("![x](http://elsewhere/cat.png)"), /<img/);
});

test("fence labels, link titles and formulas are escaped", () => {
  for (const payload of JSON.parse(readFileSync(new URL("../payloads.json", import.meta.url)))) {
    const html = htmlOf(payload);
    assert.doesNotMatch(html, /<(?:script|iframe|object|embed|svg|style|form|base|meta|link)\b/i, payload);
    assert.doesNotMatch(html.replace(/"[^"]*"/g, ""), /<[^>]*\son\w+\s*=/i, payload);
  }
  assert.equal(escapeHtml(`<a b="c" d='e'>&`), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;");
});

test("unfinished and strange texts do not throw", () => {
  for (const text of ["```", "$", "$$", "\\[", "| a |", "[x](", "**", "<", "\u0000", "水🦀", "- ".repeat(500)]) {
    assert.ok(Array.isArray(blocksOf(text)));
  }
});
