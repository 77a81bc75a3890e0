// The notebook's transport against a channel that the test plays. Run by test_comm.py.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Client } from "../../airust/ui/client.js";

globalThis.addEventListener ??= () => {};
globalThis.removeEventListener ??= () => {};
const { commTransport } = await import("../../airust/ui/transport/comm.js");

const opened = [];

function transportOver(line) {
  opened.push(commTransport(line));
  return opened.at(-1);
}

afterEach(() => opened.splice(0).forEach((transport) => transport.close()));

/** Until something is true, or ever. */
async function until(check) {
  while (!check()) await new Promise((resolve) => setTimeout(resolve, 1));
}

function channel() {
  const sent = [];
  const listeners = new Set();
  return {
    sent,
    listeners,
    send: (message) => sent.push(message),
    onMessage(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    hear(items, buffers = []) {
      for (const listener of [...listeners]) listener({ kind: "batch", items }, buffers);
    },
  };
}

const view = (text) => new DataView(new TextEncoder().encode(text).buffer);

test("a request travels and its pieces become JSON", async () => {
  const line = channel();
  const transport = transportOver(line);
  const answer = transport.fetch("/v1/sessions", { method: "POST", body: { title: "水" } });
  const [{ id, ...sent }] = line.sent;
  assert.deepEqual(sent, {
    kind: "http",
    method: "POST",
    path: "/v1/sessions",
    headers: [["content-type", "application/json"]],
    body: '{"title":"水"}',
  });
  line.hear([{ kind: "head", id, status: 201, headers: [["content-type", "application/json"]] }]);
  const bytes = new TextEncoder().encode('{"title":"水"}');
  const [left, right] = [bytes.slice(0, 11), bytes.slice(11)]; // in the middle of a character
  line.hear([{ kind: "body", id, buffer: 0, end: false }], [new DataView(left.buffer)]);
  line.hear([{ kind: "body", id, buffer: 0, end: true }], [right.buffer]);
  assert.deepEqual(await answer, { status: 201, json: { title: "水" } });
});

test("an empty answer and a text", async () => {
  const line = channel();
  const transport = transportOver(line);
  const empty = transport.fetch("/v1/sessions/1", { method: "DELETE" });
  const text = transport.fetch("/v1/sessions/1/export");
  const [first, second] = line.sent.map((message) => message.id);
  line.hear(
    [
      { kind: "head", id: second, status: 200, headers: [["content-type", "text/markdown"]] },
      { kind: "head", id: first, status: 204, headers: [] },
      { kind: "body", id: first, buffer: 0, end: true },
      { kind: "body", id: second, buffer: 1, end: true },
    ],
    [view(""), view("# Title")],
  );
  assert.deepEqual(await empty, { status: 204, json: null });
  assert.deepEqual(await text, { status: 200, json: "# Title" });
});

test("a broken answer is an error", async () => {
  const line = channel();
  const answer = transportOver(line).fetch("/x");
  line.hear([{ kind: "failed", id: line.sent[0].id, message: "no" }]);
  await assert.rejects(answer, /no/);
});

test("a socket opens, talks and closes once", async () => {
  const line = channel();
  const transport = transportOver(line);
  const socket = transport.open();
  const told = [];
  socket.onopen = () => told.push("open");
  socket.onmessage = (text) => told.push(text);
  socket.onclose = ({ code }) => told.push(code);
  const { id } = line.sent[0];
  socket.send("hi");
  assert.deepEqual(line.sent[1], { kind: "text", id, text: "hi" });
  line.hear([{ kind: "opened", id }, { kind: "text", id, text: "ho" }]);
  line.hear([{ kind: "text", id: "another view's", text: "not mine" }]);
  line.hear([{ kind: "closed", id, code: 1001, reason: "" }]);
  line.hear([{ kind: "closed", id, code: 1001, reason: "" }]);
  const last = transport.fetch("/x");
  line.hear([{ kind: "failed", id: line.sent.at(-1).id, message: "" }]);
  await assert.rejects(last); // what came before it has been heard
  assert.deepEqual(told, ["open", "ho", 1001]);
});

test("whoever asked knows the first answer before the next event of its batch is heard", async () => {
  const line = channel();
  const told = [];
  const client = new Client(transportOver(line), { onEvent: (event) => told.push(event.type) });
  client.connect();
  const { id } = line.sent[0];
  line.hear([{ kind: "opened", id }]);
  await until(() => client.isOpen);
  client.ask({ type: "response.create" }).then(() => told.push("the asker knows"));
  const { event_id } = JSON.parse(line.sent[1].text);
  const events = [{ type: "response.created", event_id }, { type: "response.failed" }];
  line.hear(events.map((event) => ({ kind: "text", id, text: JSON.stringify(event) })));
  await until(() => told.length === 3);
  assert.deepEqual(told, ["response.created", "the asker knows", "response.failed"]);
});

test("a kernel that is gone closes everything; leaving tells the kernel", async () => {
  const line = channel();
  const transport = transportOver(line);
  const codes = [];
  transport.open().onclose = ({ code }) => codes.push(code);
  const answer = transport.fetch("/x");
  transport.cut();
  assert.deepEqual(codes, [1006]);
  await assert.rejects(answer, /gone/);
  transport.close();
  assert.equal(line.sent.at(-1).kind, "leave");
  assert.equal(line.listeners.size, 0);
});

test("two views have different names", () => {
  const line = channel();
  transportOver(line).open();
  transportOver(line).open();
  assert.notEqual(line.sent[0].id, line.sent[1].id);
});
