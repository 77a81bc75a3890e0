import assert from "node:assert/strict";
import { test } from "node:test";
import { entropyOf, firstDifference, levelOf, LEVELS, sharedLength, stepOf, visible } from "../../../airust/ui/tokens.js";

const token = (logprob, tops = [], seconds = null) => ({
  id: 1, text: "a", logprob, seconds, top: tops.map((p, id) => ({ id, text: String(id), logprob: Math.log(p) })),
});

test("entropy of what the alternatives say, in bits", () => {
  assert.equal(entropyOf(token(0)), null);
  assert.ok(Math.abs(entropyOf(token(0, [0.5, 0.5])).bits - 1) < 1e-9);
  assert.ok(entropyOf(token(0, [0.25, 0.25, 0.25, 0.25])).exact);
  const part = entropyOf(token(0, [0.5, 0.25]));
  assert.ok(Math.abs(part.bits - 1.5) < 1e-9);
  assert.equal(part.exact, false);
  assert.ok(Math.abs(part.rest - 0.25) < 1e-9);
});

test("the more surprising, uncertain or slow, the more colour", () => {
  const tokens = [token(0, [1], 1), token(Math.log(0.5), [0.5, 0.5], 1.1), token(Math.log(0.001), [0.9, 0.1], 1.5)];
  assert.deepEqual(tokens.map((_, i) => levelOf(tokens, i, "probability")), [0, 4, 8]);
  assert.deepEqual(tokens.map((_, i) => levelOf(tokens, i, "time")), [0, 2, 8]);
  assert.equal(levelOf(tokens, 1, "entropy"), 2);
  assert.equal(levelOf([token(null)], 0, "probability"), 0);
  for (const by of ["probability", "entropy", "time"]) {
    for (let i = 0; i < 3; i++) assert.ok(levelOf(tokens, i, by) <= LEVELS);
  }
});

test("times of tokens", () => {
  const tokens = [token(0, [], 0.2), token(0, [], 0.5), token(0)];
  assert.equal(stepOf(tokens, 0), 0.2);
  assert.ok(Math.abs(stepOf(tokens, 1) - 0.3) < 1e-9);
  assert.equal(stepOf(tokens, 2), null);
});

test("what cannot be seen is made visible", () => {
  assert.equal(visible(" a\n"), "␣a↵");
  assert.equal(visible(""), "·");
  assert.equal(visible(null), "·");
});

const answer = (ids, text = "", ended = false) => ({ ended, text, tokens: ids.map((id) => ({ id })) });

test("the first token that differs", () => {
  const at = (...answers) => firstDifference(answers);
  const token = (index) => ({ index, unit: "token" });
  assert.equal(at(answer([1, 2]), answer([1, 2, 3])), null); // one is only behind
  assert.deepEqual(at(answer([1, 2], "", true), answer([1, 2, 3])), token(2)); // it has ended
  assert.deepEqual(at(answer([1, 2]), answer([1, 4])), token(1));
  assert.deepEqual(at(answer([1]), answer([1]), answer([2])), token(0));
  assert.deepEqual(at(answer([null], "abc"), answer([7], "abd")), { index: 2, unit: "character" });
  assert.equal(at(answer([1])), null);
});

test("what answers share does not end inside a character", () => {
  assert.equal(sharedLength(["abc", "abd"]), 2);
  assert.equal(sharedLength(["🦀a", "🦞a"]), 0);
  assert.equal(sharedLength(["ab", "ab"]), 2);
  assert.equal(sharedLength([]), 0);
});
