import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { describe } from "../../../airust/ui/failures.js";
import { chooseLanguage, translator, WORDS } from "../../../airust/ui/i18n.js";
import { DEFAULT_PARAMS, Prefs, PRESETS, presetOf, requestParams, withPreset } from "../../../airust/ui/prefs.js";

const UI = new URL("../../../airust/ui/", import.meta.url);
const holes = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort();

test("both languages have every word, with the same holes", () => {
  assert.deepEqual(Object.keys(WORDS.zh), Object.keys(WORDS.en));
  for (const name of Object.keys(WORDS.en)) assert.deepEqual(holes(WORDS.zh[name]), holes(WORDS.en[name]), name);
});

test("every word that is asked for is there, and every word is used", () => {
  const files = ["", "views/"].flatMap((folder) =>
    readdirSync(new URL(folder, UI)).filter((f) => f.endsWith(".js") && f !== "i18n.js").map((f) => folder + f));
  const code = files.map((file) => readFileSync(new URL(file, UI), "utf-8")).join("\n");
  for (const [, name] of code.matchAll(/\bt\("(\w+)"/g)) assert.ok(name in WORDS.en, name);
  for (const name of Object.keys(WORDS.en)) assert.ok(code.includes(`"${name}"`) || name in PRESETS, `${name} is not used`);
});

test("holes are filled, and values are not read as holes", () => {
  assert.equal(translator("en")("branchOf", { n: 1, of: 2 }), "Branch 1 of 2");
  assert.equal(translator("en")("chatDeleted", { title: "{title}" }), "“{title}” deleted");
});

test("the language is the wished one, or the browser's", () => {
  assert.equal(chooseLanguage("zh", "en-US"), "zh");
  assert.equal(chooseLanguage(null, "zh-CN"), "zh");
  assert.equal(chooseLanguage(null, "de-DE"), "en");
});

test("failures say what to do next", () => {
  const t = translator("en");
  assert.equal(describe({ code: "unreachable", message: "" }, t).title, WORDS.en.offline);
  assert.match(describe({ code: "context_length_exceeded", message: "Too long." }, t).text, /Too long\. Shorten/);
  assert.equal(describe(new Error("x"), t).title, WORDS.en.failed);
});

test("presets and what goes into a request", () => {
  assert.equal(presetOf(DEFAULT_PARAMS), "greedy");
  const creative = withPreset({ ...DEFAULT_PARAMS, seed: 7 }, PRESETS.creative);
  assert.equal(presetOf(creative), "creative");
  assert.equal(creative.seed, 7);
  assert.equal(presetOf({ ...creative, top_k: 3 }), "custom");
  assert.equal(presetOf({ ...creative, top_k: 3 }, { mine: { ...PRESETS.creative, top_k: 3 } }), "mine");
  assert.deepEqual(requestParams(DEFAULT_PARAMS), { max_output_tokens: 256, temperature: 0 });
  const all = requestParams(creative, { min_p: true, seed: true });
  assert.deepEqual(all, { max_output_tokens: 256, temperature: 1.1, top_p: 0.98, min_p: 0.02, seed: 7 });
  assert.equal("min_p" in requestParams(creative, {}), false);
});

test("a storage that throws or is full does not matter", () => {
  const broken = { getItem() { throw new Error("no"); }, setItem() { throw new Error("full"); } };
  const prefs = new Prefs(broken);
  assert.equal(prefs.get("a", 1), 1);
  prefs.set("a", 2);
  assert.equal(prefs.get("a", 1), 2);
  assert.equal(new Prefs(null).get("a", 3), 3);
});
