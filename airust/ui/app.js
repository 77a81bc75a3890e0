// What the panel knows and can do; the views only show it.

import { Client } from "./client.js";
import { frameBatcher } from "./frames.js";
import { pathTo, treeOf } from "./tree.js";

export class App {
  constructor(transport, options = {}) {
    this.options = options;
    this.state = { sessions: [], sessionId: null, messages: [], head: null, live: null, line: "connecting" };
    this.listeners = new Set();
    this.frames = frameBatcher(() => this.listeners.forEach((listener) => listener()));
    this.client = new Client(transport, {
      onState: (line) => this.set({ line }),
      onEvent: (event) => this.receive(event),
    });
  }

  onChange(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  set(change) {
    Object.assign(this.state, change);
    this.frames.request();
  }

  async start() {
    this.client.connect();
    await this.refreshSessions();
    const wanted = this.options.sessionId;
    const first = wanted === undefined ? this.state.sessions[0]?.id : wanted;
    if (first) await this.openSession(first);
  }

  async refreshSessions() {
    this.set({ sessions: (await this.client.get("/v1/sessions")).data });
  }

  async openSession(sessionId) {
    const found = await this.client.get(`/v1/sessions/${sessionId}/messages`);
    this.set({ sessionId, messages: found.data, head: found.head });
  }

  path() {
    return pathTo(treeOf(this.state.messages), this.state.head);
  }

  async ask(text) {
    if (!this.state.sessionId) {
      const made = await this.client.post("/v1/sessions", {});
      this.set({ sessionId: made.id, messages: [], head: null });
    }
    const conversation = this.state.sessionId;
    this.set({ live: { id: null, question: text, text: "" } });
    await this.client.ask({ type: "response.create", input: text, conversation });
  }

  receive(event) {
    const live = this.state.live;
    if (!live) return;
    if (event.type === "response.created") live.id = event.response_id;
    if (event.type === "response.output_text.delta") live.text += event.delta;
    if (/^response\.(completed|incomplete|failed)$/.test(event.type)) {
      this.set({ live: null });
      this.openSession(this.state.sessionId);
      this.refreshSessions();
    }
    this.frames.request();
  }

  stop() {
    if (this.state.live?.id) this.client.tell({ type: "response.cancel", response_id: this.state.live.id });
  }

  snapshot() {
    return { sessionId: this.state.sessionId, messages: this.path() };
  }

  close() {
    this.frames.close();
    this.client.close();
  }
}
