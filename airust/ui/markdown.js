// Markdown to a safe piece of the page: marked, KaTeX, highlight.js, then DOMPurify on all of it.

import hljs from "./vendor/highlight/highlight.min.js";
import { render as renderMath } from "./vendor/katex/katex.mjs";
import { Marked } from "./vendor/marked/marked.esm.js";
import DOMPurify from "./vendor/dompurify/purify.es.mjs";

const MOST_HIGHLIGHTED = 60_000; // characters of one code block
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

export const escapeHtml = (text) => text.replace(/[&<>"']/g, (c) => ESCAPES[c]);

const mathSpan = (tex, display) =>
  `<span class="math" data-display="${display ? 1 : 0}">${escapeHtml(tex)}</span>`;

/** `$$…$$` and `\[…\]` on lines of their own. */
const blockMath = {
  name: "blockMath",
  level: "block",
  start: (text) => text.match(/(?:^|\n) {0,3}(?:\$\$|\\\[)/)?.index,
  tokenizer(text) {
    const found =
      /^ {0,3}\$\$([^$]+?)\$\$[ \t]*(?:\n+|$)/.exec(text) ??
      /^ {0,3}\\\[([\s\S]+?)\\\][ \t]*(?:\n+|$)/.exec(text);
    return found ? { type: "blockMath", raw: found[0], tex: found[1].trim() } : undefined;
  },
  renderer: (token) => `<p>${mathSpan(token.tex, true)}</p>`,
};

/** `$…$`, `$$…$$` and `\(…\)` in a line. "It costs $5 or $6" is no formula. */
const inlineMath = {
  name: "inlineMath",
  level: "inline",
  start: (text) => text.match(/\$|\\\(|\\\[/)?.index,
  tokenizer(text) {
    const found =
      /^\$\$([^$\n]+?)\$\$/.exec(text) ??
      /^\\\[([^\n]+?)\\\]/.exec(text) ??
      /^\\\(([^\n]+?)\\\)/.exec(text) ??
      /^\$(?!\s)((?:[^$\\\n]|\\.)+?)(?<!\s)\$(?!\d)/.exec(text);
    if (!found) return undefined;
    const display = found[0].startsWith("$$") || found[0].startsWith("\\[");
    return { type: "inlineMath", raw: found[0], tex: found[1].trim(), display };
  },
  renderer: (token) => mathSpan(token.tex, token.display),
};

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [blockMath, inlineMath],
  renderer: {
    // The model's own HTML is shown as what it wrote, not obeyed.
    html: ({ text }) => escapeHtml(text),
    code({ text, lang }) {
      const name = (lang ?? "").trim().split(/\s+/)[0];
      return (
        `<div class="code"><div class="code-bar"><span>${escapeHtml(name)}</span></div>` +
        `<pre><code data-language="${escapeHtml(name)}">${escapeHtml(text)}\n</code></pre></div>`
      );
    },
    table({ header, rows }) {
      const cell = (tag) => (c) =>
        `<${tag}${c.align ? ` align="${c.align}"` : ""}>${this.parser.parseInline(c.tokens)}</${tag}>`;
      const row = (tag) => (cells) => `<tr>${cells.map(cell(tag)).join("")}</tr>`;
      return (
        `<div class="table" tabindex="0"><table><thead>${row("th")(header)}</thead>` +
        `<tbody>${rows.map(row("td")).join("")}</tbody></table></div>`
      );
    },
    // Nothing is fetched from another host: an image is offered as a link.
    image({ href, text }) {
      const inside = /^data:image\/(png|jpeg|gif|webp);base64,/.test(href);
      if (inside) return `<img src="${escapeHtml(href)}" alt="${escapeHtml(text)}">`;
      return `<a href="${escapeHtml(href)}">${escapeHtml(text || href)}</a>`;
    },
  },
});

/** The top-level blocks of a text as `{ raw, html }`; only the last one changes while it grows. */
export function blocksOf(text) {
  const tokens = marked.lexer(text);
  return tokens
    .filter((token) => token.type !== "space" && token.type !== "def")
    .map((token) => ({ raw: token.raw, html: marked.parser([token]) }));
}

const ALLOWED = {
  ALLOWED_TAGS: [
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "del", "code", "pre",
    "blockquote", "ul", "ol", "li", "a", "img", "table", "thead", "tbody", "tr", "th", "td",
    "span", "div", "input",
  ],
  ALLOWED_ATTR: [
    "href", "src", "alt", "title", "align", "class", "start", "type", "checked", "disabled",
    "tabindex", "data-display", "data-language",
  ],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#|data:image\/(?:png|jpeg|gif|webp);base64,)/i,
  ALLOW_DATA_ATTR: true,
};
const MATH = { USE_PROFILES: { html: true, mathMl: true, svg: true }, ADD_ATTR: ["encoding"], ADD_TAGS: ["semantics", "annotation"], FORBID_TAGS: ["style", "a", "img", "form", "input"], IN_PLACE: true };

/** One block's HTML as a fragment that may be put into the page. */
export function safeFragment(html, labels) {
  const fragment = DOMPurify.sanitize(html, { ...ALLOWED, RETURN_DOM_FRAGMENT: true });
  for (const link of fragment.querySelectorAll("a[href]")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const box of fragment.querySelectorAll("input")) {
    if (box.type !== "checkbox") box.remove();
    box.disabled = true;
    box.setAttribute("aria-label", labels.task);
  }
  for (const node of fragment.querySelectorAll(".math")) showMath(node);
  for (const node of fragment.querySelectorAll("pre > code")) {
    highlight(node);
    node.parentElement.tabIndex = 0;
  }
  for (const bar of fragment.querySelectorAll(".code-bar")) addCopy(bar, labels);
  return fragment;
}

function showMath(node) {
  const tex = node.textContent;
  try {
    renderMath(tex, node, {
      displayMode: node.dataset.display === "1",
      trust: false,
      strict: "ignore",
      maxSize: 20,
      maxExpand: 500,
    });
    DOMPurify.sanitize(node, MATH);
  } catch {
    node.textContent = tex; // not (yet) a formula
    node.classList.add("math-failed");
  }
}

function highlight(node) {
  const name = node.dataset.language;
  const text = node.textContent;
  if (!name || !hljs.getLanguage(name) || text.length > MOST_HIGHLIGHTED) return;
  const html = hljs.highlight(text, { language: name, ignoreIllegals: true }).value;
  const allowed = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };
  node.replaceChildren(DOMPurify.sanitize(html, allowed));
}

function addCopy(bar, labels) {
  const button = bar.ownerDocument.createElement("button");
  button.type = "button";
  button.className = "copy-code";
  button.textContent = labels.copy;
  bar.append(button);
}

/**
 * Shows a text in `node`, touching only the blocks that have changed since the last time.
 * Clicks on copy buttons are the caller's: `.copy-code` inside `.code`.
 */
export function showMarkdown(node, text, labels) {
  const blocks = blocksOf(text);
  const shown = (node.shownBlocks ??= []);
  let same = 0;
  while (same < blocks.length && same < shown.length && shown[same] === blocks[same].html) same++;
  while (node.children.length > same) node.lastElementChild.remove();
  shown.length = same;
  for (const block of blocks.slice(same)) {
    const part = node.ownerDocument.createElement("div");
    part.className = "block";
    part.append(safeFragment(block.html, labels));
    node.append(part);
    shown.push(block.html);
  }
}
