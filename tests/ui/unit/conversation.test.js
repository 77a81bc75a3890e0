import assert from "node:assert/strict";
import { test } from "node:test";
import { Conversation } from "../../../airust/ui/conversation.js";

const settled = () => new Promise((resolve) => setTimeout(resolve, 0));

/** An app whose service answers when the test says so: `answer(path, value)`. */
function fakeApp() {
  const waiting = new Map();
  const ask = (path) => new Promise((resolve, reject) => waiting.set(path, { resolve, reject }));
  const asked = [];
  const app = {
    asked,
    waiting,
    failures: [],
    models: [{ id: "m", capabilities: {} }],
    model: { id: "m", capabilities: {} },
    params: { temperature: 0, top_p: 1, max_output_tokens: 8, repetition_penalty: 1, stop: [] },
    inspector: { isActive: false, keep() {} },
    prefs: { get: (_, otherwise) => otherwise, set() {} },
    sessions: { running: new Map(), create: () => ask("create") },
    client: {
      get: ask,
      ask: (event) => (asked.push(event), ask(event.type)),
      tell: (event) => asked.push(event),
    },
    t: (name) => name,
    changed() {},
    set() {},
    say() {},
    emit() {},
    fail: (error) => app.failures.push(error),
    attempt: (work) => work().catch((error) => app.fail(error)),
    answer(path, value) {
      waiting.get(path).resolve(value);
      return settled();
    },
    show(id, text) {
      const message = { id: `msg_${id}`, parent_id: null, role: "user", content: text, created_at: 1, details: {} };
      waiting.get(`/v1/sessions/${id}`).resolve({ id, title: text, head: message.id });
      return app.answer(`/v1/sessions/${id}/messages`, { data: [message] });
    },
  };
  return app;
}

const accepted = (session) => ({
  response_id: "resp_1", sequence_number: 0,
  response: { model: "m", created_at: 2, conversation: { id: session }, context: { question_id: "msg_q" } },
});

test("the conversation that was chosen last is shown, whichever answers first", async () => {
  const app = fakeApp();
  const chat = new Conversation(app);
  chat.open("a");
  chat.open("b");
  await app.show("b", "of b");
  await app.show("a", "of a");
  assert.equal(chat.id, "b");
  assert.deepEqual(chat.path.map((message) => message.content), ["of b"]);
});

test("one that is deleted is left, for the one that was chosen meanwhile", async () => {
  const app = fakeApp();
  const chat = new Conversation(app);
  chat.open("a");
  await app.show("a", "of a");
  chat.open("b");
  chat.heardChange({ session_id: "a", change: "deleted" });
  await app.show("b", "of b");
  assert.equal(chat.id, "b");
  chat.heardChange({ session_id: "b", change: "deleted" });
  assert.equal(chat.id, null);
  assert.deepEqual(chat.path, []);
});

test("a first question stays in its own conversation when one goes elsewhere", async () => {
  const app = fakeApp();
  const chat = new Conversation(app);
  chat.ask("first");
  chat.open("b");
  await app.show("b", "of b");
  await app.answer("create", { id: "new" });
  await app.answer("response.create", accepted("new"));
  assert.equal(app.asked.find((event) => event.type === "response.create").conversation, "new");
  assert.equal(chat.id, "b");
  assert.deepEqual(chat.path.map((message) => message.content), ["of b"]);
  assert.equal(chat.isBusy, false);
});

test("a question is shown until it is accepted, and its conversation is the open one", async () => {
  const app = fakeApp();
  const chat = new Conversation(app);
  const whether = chat.ask("first");
  assert.equal(chat.pending.text, "first");
  await app.answer("create", { id: "new" });
  await app.answer("response.create", accepted("new"));
  assert.equal(await whether, true);
  assert.equal(chat.id, "new");
  assert.equal(chat.pending, null);
  assert.deepEqual(chat.path.map((message) => message.role), ["user", "assistant"]);
  assert.equal(chat.isBusy, true); // the answer comes in
});

test("what the service refuses is told, and nothing is pending", async () => {
  const app = fakeApp();
  const chat = new Conversation(app);
  const whether = chat.ask("too long");
  await app.answer("create", { id: "new" });
  app.waiting.get("response.create").reject(new Error("No."));
  assert.equal(await whether, false);
  assert.deepEqual(app.failures.map((error) => error.message), ["No."]);
  assert.equal(chat.isBusy, false);
});
