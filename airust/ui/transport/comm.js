// The notebook's transport: the same two doors through a widget's messages, into the app that runs
// in the kernel's process. airust/widgets/tunnel.py is the other end and lists the messages.

const UTF8 = new TextDecoder();

/**
 * A transport over `channel`: { send(message), onMessage(listener) }, where the listener gets
 * (message, buffers) and onMessage returns how to stop listening. Beyond README.md it has
 * `file(path)`, the bytes of a file of the service, `cut()` for a kernel that is gone, and `close()`.
 */
export function commTransport(channel) {
  // All views of a widget hear the same messages: each has names of its own.
  const view = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16)).join("");
  const requests = new Map();
  const sockets = new Map();
  let number = 0;
  const next = () => `${view}:${++number}`;

  const turns = inTurn((item, buffers) => {
    const request = requests.get(item.id);
    if (request) request(item, item.buffer === undefined ? null : bytes(buffers[item.buffer]));
    else hear(sockets, item);
  });
  const forget = channel.onMessage((message, buffers) => {
    if (message.kind !== "batch") return;
    for (const item of message.items) turns.put(item, buffers);
  });
  const leave = () => channel.send({ kind: "leave", view });
  addEventListener("pagehide", leave);

  function request(path, { method = "GET", body } = {}) {
    const id = next();
    return new Promise((resolve, reject) => {
      const parts = [];
      let head = null;
      requests.set(id, (item, piece) => {
        if (item.kind === "head") head = item;
        else if (item.kind === "body") parts.push(piece);
        if (item.kind === "failed") reject(new Error(item.message));
        if (item.kind !== "failed" && !item.end) return;
        requests.delete(id);
        if (head) resolve({ status: head.status, headers: new Headers(head.headers), bytes: join(parts) });
      });
      const headers = body === undefined ? [] : [["content-type", "application/json"]];
      const text = body === undefined ? null : JSON.stringify(body);
      channel.send({ kind: "http", id, method, path, headers, body: text });
    });
  }

  return {
    describe: "the notebook's kernel",
    async fetch(path, options) {
      const answer = await request(path, options);
      const text = UTF8.decode(answer.bytes);
      if (!text) return { status: answer.status, json: null };
      const isJson = (answer.headers.get("content-type") || "").includes("json");
      return { status: answer.status, json: isJson ? JSON.parse(text) : text };
    },
    async file(path) {
      const answer = await request(path);
      if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`);
      return answer.bytes.buffer;
    },
    open() {
      const id = next();
      const socket = {
        send: (text) => channel.send({ kind: "text", id, text }),
        close() {
          if (sockets.delete(id)) channel.send({ kind: "close", id, code: 1000 });
        },
        onopen: null,
        onmessage: null,
        onclose: null,
      };
      sockets.set(id, socket);
      channel.send({ kind: "open", id, path: "/ws" });
      return socket;
    },
    cut() {
      for (const [id, socket] of [...sockets]) {
        sockets.delete(id);
        socket.onclose?.({ code: 1006, reason: "The kernel is gone." });
      }
      for (const id of [...requests.keys()]) {
        requests.get(id)({ kind: "failed", message: "The kernel is gone." });
      }
    },
    close() {
      leave();
      forget();
      turns.close();
      removeEventListener("pagehide", leave);
      requests.clear();
      sockets.clear();
    },
  };
}

/** Does `work` for what is put, each in a task of its own, as a browser hands over the frames of a
 * socket: whoever awaits something in one of them goes on before the next one is heard. */
function inTurn(work) {
  const { port1, port2 } = new MessageChannel(); // unlike timers it is as fast in a hidden tab
  const waiting = [];
  port1.onmessage = () => work(...waiting.shift());
  return {
    put(...what) {
      waiting.push(what);
      port2.postMessage(null);
    },
    close: () => port1.close(),
  };
}

function hear(sockets, item) {
  const socket = sockets.get(item.id);
  if (!socket) return;
  if (item.kind === "opened") socket.onopen?.();
  else if (item.kind === "text") socket.onmessage?.(item.text);
  else if (item.kind === "closed") {
    sockets.delete(item.id);
    socket.onclose?.({ code: item.code, reason: item.reason });
  }
}

/** What a comm hands over as a DataView or a buffer. */
function bytes(buffer) {
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
