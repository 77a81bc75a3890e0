import assert from "node:assert/strict";
import { test } from "node:test";
import { frameBatcher } from "../../../airust/ui/frames.js";
import { Live, rateOf } from "../../../airust/ui/live.js";

function fakeFrames() {
  const waiting = [];
  return { schedule: (callback) => waiting.push(callback), next: () => waiting.splice(0).forEach((c) => c()), waiting };
}

test("however often it is asked, a frame draws once", () => {
  const frames = fakeFrames();
  let drawn = 0;
  const batcher = frameBatcher(() => drawn++, frames.schedule);
  for (let i = 0; i < 200; i++) batcher.request();
  assert.equal(drawn, 0);
  assert.equal(frames.waiting.length, 1);
  frames.next();
  assert.equal(drawn, 1);
  frames.next();
  assert.equal(drawn, 1);
  batcher.request();
  frames.next();
  assert.equal(drawn, 2);
});

test("what was closed draws no more", () => {
  const frames = fakeFrames();
  let drawn = 0;
  const batcher = frameBatcher(() => drawn++, frames.schedule);
  batcher.request();
  batcher.close();
  frames.next();
  assert.equal(drawn, 0);
});

const delta = (n, text, more = {}) => ({
  type: "response.output_text.delta", sequence_number: n, delta: text, logprobs: [], ...more,
});

test("200 tokens in a frame are one drawing, in order, and nothing is counted twice", () => {
  const frames = fakeFrames();
  const live = new Live({ response_id: "r", message_id: "m" }, frames.schedule);
  let drawn = 0;
  live.onChange(() => drawn++);
  const events = Array.from({ length: 200 }, (_, i) => delta(i, `${i} `, { token_ids: [i], seconds: i / 200 }));
  for (const event of events) live.take(event);
  for (const event of events.slice(100)) live.take(event); // after attaching again
  frames.next();
  assert.equal(drawn, 1);
  assert.equal(live.text, Array.from({ length: 200 }, (_, i) => `${i} `).join(""));
  assert.equal(live.tokens.length, 200);
  assert.equal(Math.round(live.rate), 200);
});

test("a live answer knows its tokens and its end", () => {
  const live = new Live({ response_id: "r" }, () => {});
  const top = [{ token: "a", token_id: 1, logprob: -0.1 }, { token: "b", token_id: 2, logprob: -2 }];
  const logprobs = [{ token: "a", token_id: 1, logprob: -0.1, top_logprobs: top }];
  live.take(delta(0, "a", { logprobs, token_ids: [1], seconds: 0.5 }));
  assert.deepEqual(live.tokens[0].top.map((t) => t.id), [1, 2]);
  assert.equal(live.ttft, 0.5);
  assert.equal(live.rate, null);
  const response = { error: null, incomplete_details: { reason: "max_output_tokens" }, timings: { ttft_s: 0.4 } };
  live.take({ type: "response.incomplete", sequence_number: 1, response });
  assert.equal(live.finishReason, "length");
  assert.equal(live.ttft, 0.4);
});

test("a rate needs two moments", () => {
  assert.equal(rateOf([]), null);
  assert.equal(rateOf([1]), null);
  assert.equal(rateOf([1, 1]), null);
  assert.equal(rateOf([0, 0.5, 1]), 2);
});
