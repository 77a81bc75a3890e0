// The browser's transport: fetch and WebSocket to the server that the page came from.

const SUBPROTOCOL = "airust";
const KEY_PROTOCOL = "openai-insecure-api-key.";

/** A transport to `base`, an address such as "http://127.0.0.1:3000". See README.md. */
export function httpTransport(base, { key = null, onKey = () => {} } = {}) {
  const origin = base.replace(/\/+$/, "");
  return {
    describe: origin,
    setKey(value) {
      key = value || null;
      onKey(key);
    },
    async fetch(path, { method = "GET", body } = {}) {
      const headers = {};
      if (key) headers.authorization = `Bearer ${key}`;
      if (body !== undefined) headers["content-type"] = "application/json";
      const answer = await fetch(origin + path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
      });
      return { status: answer.status, json: await read(answer) };
    },
    open() {
      const protocols = key ? [SUBPROTOCOL, KEY_PROTOCOL + key] : [SUBPROTOCOL];
      return socket(new WebSocket(origin.replace(/^http/, "ws") + "/ws", protocols));
    },
  };
}

async function read(answer) {
  const text = await answer.text();
  if (!text) return null;
  const isJson = (answer.headers.get("content-type") || "").includes("json");
  return isJson ? JSON.parse(text) : text;
}

function socket(raw) {
  const line = {
    send: (text) => raw.send(text),
    close: () => raw.close(),
    onopen: null,
    onmessage: null,
    onclose: null,
  };
  raw.onopen = () => line.onopen?.();
  raw.onmessage = (event) => line.onmessage?.(event.data);
  raw.onclose = (event) => line.onclose?.({ code: event.code, reason: event.reason });
  return line;
}
