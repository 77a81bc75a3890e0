// The service as the panel sees it: requests that fail with words, and one socket that comes back.

const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 10_000;

/** A failure that can be shown; `code` is the service's, or "unreachable". */
export class ServiceError extends Error {
  constructor(message, code, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** One transport's requests and socket. `onState` is told "online", "connecting" or "refused". */
export class Client {
  constructor(transport, { onState = () => {}, onEvent = () => {}, onOnline = () => {} } = {}) {
    this.transport = transport;
    this.onState = onState;
    this.onEvent = onEvent;
    this.onOnline = onOnline;
    this.socket = null;
    this.isOpen = false;
    this.closed = false;
    this.wait = FIRST_WAIT_MS;
    this.timer = null;
    this.number = 0;
    this.waiting = new Map(); // event id -> what to do with the first answer to it
  }

  /** The parsed answer of a request. Throws a ServiceError for anything but success. */
  async request(method, path, body) {
    let answer;
    try {
      answer = await this.transport.fetch(path, { method, body });
    } catch {
      throw new ServiceError("", "unreachable");
    }
    if (answer.status >= 400) {
      const error = answer.json?.error ?? {};
      throw new ServiceError(error.message ?? `HTTP ${answer.status}`, error.code, answer.status);
    }
    return answer.json;
  }

  get = (path) => this.request("GET", path);
  post = (path, body) => this.request("POST", path, body);
  patch = (path, body) => this.request("PATCH", path, body);
  delete = (path) => this.request("DELETE", path);

  /** Open the socket; it comes back by itself after it was lost. */
  connect() {
    clearTimeout(this.timer);
    this.socket?.close();
    this.onState("connecting");
    const socket = (this.socket = this.transport.open());
    socket.onopen = () => {
      if (socket !== this.socket) return;
      this.isOpen = true;
      this.wait = FIRST_WAIT_MS;
      this.onState("online");
      this.onOnline();
    };
    socket.onmessage = (text) => {
      if (socket === this.socket) this.receive(JSON.parse(text));
    };
    socket.onclose = () => {
      if (socket === this.socket) this.lost();
    };
  }

  lost() {
    this.isOpen = false;
    this.socket = null;
    const failure = new ServiceError("", "unreachable");
    for (const { reject } of this.waiting.values()) reject(failure);
    this.waiting.clear();
    if (this.closed || this.isRefused) return;
    this.onState("connecting");
    this.timer = setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
  }

  receive(event) {
    if (event.type === "error" && event.event_id === undefined && event.error.code) {
      if (["invalid_api_key", "origin_not_allowed"].includes(event.error.code)) {
        this.isRefused = true;
        this.onState("refused", event.error);
      }
    }
    const asked = this.waiting.get(event.event_id);
    if (asked) {
      this.waiting.delete(event.event_id);
      if (event.type === "error") asked.reject(new ServiceError(event.error.message, event.error.code));
      else asked.resolve(event);
    }
    this.onEvent(event);
  }

  /** Send an event; the promise is its first answer. */
  ask(event) {
    if (!this.isOpen) return Promise.reject(new ServiceError("", "unreachable"));
    const id = `e${++this.number}`;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ ...event, event_id: id }));
    });
  }

  /** Send an event that has no answer, if there is anybody to hear it. */
  tell(event) {
    if (this.isOpen) this.socket.send(JSON.stringify(event));
  }

  /** After a key was refused, or at once instead of waiting. */
  retry() {
    this.isRefused = false;
    this.wait = FIRST_WAIT_MS;
    this.connect();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }
}
