import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../../../airust/ui/client.js";

function fakeTransport() {
  const sockets = [];
  const answers = [];
  return {
    sockets,
    answers,
    fetch: async () => {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
    open() {
      const socket = { sent: [], send: (text) => socket.sent.push(JSON.parse(text)), close() {} };
      sockets.push(socket);
      return socket;
    },
  };
}

test("failures of the service keep its words; no answer at all is unreachable", async () => {
  const transport = fakeTransport();
  const client = new Client(transport);
  transport.answers.push({ status: 200, json: { a: 1 } });
  assert.deepEqual(await client.get("/x"), { a: 1 });
  transport.answers.push({ status: 404, json: { error: { message: "Gone.", code: "session_not_found" } } });
  await assert.rejects(client.get("/x"), { message: "Gone.", code: "session_not_found", status: 404 });
  transport.answers.push(new TypeError("network"));
  await assert.rejects(client.get("/x"), { code: "unreachable" });
  transport.answers.push({ status: 502, json: "<html>" });
  await assert.rejects(client.get("/x"), { message: "HTTP 502" });
});

test("an event is answered by the one with its id", async () => {
  const transport = fakeTransport();
  const client = new Client(transport);
  client.connect();
  await assert.rejects(client.ask({ type: "a" }), { code: "unreachable" });
  const [socket] = transport.sockets;
  socket.onopen();
  const first = client.ask({ type: "a" });
  const second = client.ask({ type: "b" });
  const [a, b] = socket.sent;
  assert.notEqual(a.event_id, b.event_id);
  socket.onmessage(JSON.stringify({ type: "error", error: { message: "No.", code: "x" }, event_id: b.event_id }));
  socket.onmessage(JSON.stringify({ type: "ok", event_id: a.event_id }));
  assert.equal((await first).type, "ok");
  await assert.rejects(second, { message: "No.", code: "x" });
});

test("a lost socket comes back by itself, and whoever waited is told", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const transport = fakeTransport();
  const states = [];
  const client = new Client(transport, { onState: (state) => states.push(state) });
  client.connect();
  transport.sockets[0].onopen();
  const asked = client.ask({ type: "a" });
  transport.sockets[0].onclose({ code: 1006 });
  await assert.rejects(asked, { code: "unreachable" });
  context.mock.timers.tick(10_000);
  assert.equal(transport.sockets.length, 2);
  transport.sockets[1].onopen();
  assert.deepEqual(states, ["connecting", "online", "connecting", "connecting", "online"]);
  client.close();
  transport.sockets[1].onclose({ code: 1000 });
  context.mock.timers.tick(60_000);
  assert.equal(transport.sockets.length, 2);
});

test("a refused key is not tried again and again", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const transport = fakeTransport();
  const states = [];
  const client = new Client(transport, { onState: (state) => states.push(state) });
  client.connect();
  transport.sockets[0].onopen();
  transport.sockets[0].onmessage(JSON.stringify({ type: "error", error: { code: "invalid_api_key", message: "No." } }));
  transport.sockets[0].onclose({ code: 1008 });
  context.mock.timers.tick(60_000);
  assert.equal(transport.sockets.length, 1);
  assert.equal(states.at(-1), "refused");
  client.retry();
  assert.equal(transport.sockets.length, 2);
});
