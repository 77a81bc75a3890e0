// The conversation that is open: its tree, the branch shown, answers on their way, and what one
// does with messages. Nothing is ever overwritten: what is edited or asked again becomes a branch.

import { Live } from "./live.js";
import { requestParams } from "./prefs.js";
import { newestLeaf, pathTo, siblingsOf, treeOf } from "./tree.js";

const TOP = 10; // alternatives of each token while the inspector is on
const SOON_MS = 60;

export class Conversation {
  constructor(app) {
    this.app = app;
    this.lives = new Map(); // response id -> Live
    this.creating = 0; // questions that are not acknowledged yet
    this.deferred = []; // answers announced meanwhile
    this.begin();
  }

  /** An empty one; it is created with its first question. */
  begin() {
    this.id = null;
    this.visit = { to: null }; // tells whether one has gone elsewhere while something was awaited
    clearTimeout(this.timer);
    clearTimeout(this.contextTimer);
    this.begun = (this.begun ?? 0) + 1; // stays while the first question creates the conversation
    this.title = "";
    this.system = this.app.prefs?.get("system", "") ?? "";
    this.messages = [];
    this.head = null;
    this.pending = null; // a question that is not acknowledged yet
    this.editing = null;
    this.target = null; // a message to scroll to
    this.use = null; // what the context costs
    this.rebuild();
    this.app.changed?.();
  }

  rebuild() {
    const shown = [...this.messages];
    const known = new Set(shown.map((message) => message.id));
    for (const live of this.lives.values()) {
      if (live.sessionId !== this.id || known.has(live.messageId)) continue;
      shown.push({
        id: live.messageId, parent_id: live.questionId, role: "assistant", content: "",
        created_at: Infinity, details: { model: live.model }, live,
      });
    }
    this.tree = treeOf(shown);
    this.path = pathTo(this.tree, this.head);
    if (this.path.length === 0 && shown.length > 0) {
      this.head = newestLeaf(this.tree, this.tree.children.get(null).at(-1).id);
      this.path = pathTo(this.tree, this.head);
    }
  }

  changed() {
    this.rebuild();
    this.app.changed();
  }

  /** The answer that is coming in on the branch shown. */
  get live() {
    const live = this.path.at(-1)?.live;
    return live && !live.ended ? live : null;
  }

  get isBusy() {
    return this.pending !== null || this.live !== null;
  }

  async open(id, messageId = null) {
    const { app } = this;
    const visit = (this.visit = { to: id });
    await app.attempt(async () => {
      const [session, found] = await Promise.all([
        app.client.get(`/v1/sessions/${id}`),
        app.client.get(`/v1/sessions/${id}/messages`),
      ]);
      if (this.visit !== visit) return; // another one was chosen meanwhile
      if (this.id !== id) this.begin();
      this.id = id;
      this.take(session, found);
      app.prefs.set("session", id);
      app.set({ isSidebarOpen: false, isRacing: false, notice: null });
      if (messageId) this.show(messageId);
      else this.target = { id: null };
      this.changed();
      app.emit("session", { id });
    });
    visit.to = null;
    this.attachAll();
    this.refreshContext();
  }

  take(session, found) {
    this.title = session.title;
    this.system = session.system ?? "";
    this.messages = found.data;
    this.head = session.head;
    const known = new Set(found.data.map((message) => message.id));
    for (const live of this.lives.values()) {
      if (live.sessionId !== this.id) continue;
      // The store does not know an answer before its end; show it where it will be.
      if (!known.has(live.messageId) && this.head === live.questionId) this.head = live.messageId;
    }
  }

  /** Once, however many changes come together. */
  reloadSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reload(), SOON_MS);
  }

  async reload() {
    const id = this.id;
    if (!id) return;
    try {
      const [session, found] = await Promise.all([
        this.app.client.get(`/v1/sessions/${id}`),
        this.app.client.get(`/v1/sessions/${id}/messages`),
      ]);
      if (this.id !== id) return;
      for (const live of [...this.lives.values()]) {
        if (live.ended && live.sessionId === id) this.forget(live);
      }
      this.take(session, found);
      this.changed();
      this.refreshContext();
    } catch (error) {
      if (error.code === "session_not_found" && this.id === id) this.begin();
      else if (error.code !== "unreachable") this.app.fail(error);
    }
  }

  forget(live) {
    this.lives.delete(live.id);
    this.app.inspector.keep(live);
  }

  // ---- what the service says

  heard(event) {
    const live = this.lives.get(event.response_id);
    if (!live) return;
    live.take(event);
    if (live.ended) this.ended(live);
  }

  ended(live) {
    this.app.sessions.running.delete(live.sessionId);
    if (live.error) {
      const question = live.questionId;
      const again = live.sessionId === this.id ? () => this.answer(question) : null;
      this.app.fail(live.error, again);
    } else if (live.sessionId === this.id) {
      const words = live.finishReason === "cancelled" ? "stopped" : "answered";
      this.app.say(this.app.t(words) + (words === "answered" ? live.text : ""));
    }
    this.app.emit("message", { sessionId: live.sessionId, messageId: live.messageId });
    if (live.sessionId === this.id) this.reload();
    else this.forget(live);
  }

  heardChange(event) {
    if (event.change === "answering") {
      // It may be the one that this tab is just asking for: create() knows in a moment.
      if (this.creating > 0) this.deferred.push(event.response);
      else this.attach(event.response);
    }
    if (event.session_id !== this.id && event.session_id !== null) return;
    if (event.change === "deleted") {
      const isLeaving = this.visit.to !== null && this.visit.to !== event.session_id;
      if (!isLeaving) this.begin();
    } else if (event.change !== "answering") this.reloadSoon();
  }

  /** After the socket has come (back): what is running goes on to be shown. */
  async resume() {
    try {
      const { running } = await this.app.client.ask({ type: "sessions.watch" });
      this.app.sessions.running = new Map(running.map((r) => [r.session_id, r.response_id]));
      const alive = new Set(running.map((r) => r.response_id));
      for (const live of this.lives.values()) {
        if (!alive.has(live.id)) this.forget(live);
        else this.follow(live);
      }
      for (const about of running) this.attach(about);
      this.app.sessions.refreshSoon();
      this.reloadSoon();
    } catch {
      // The socket went again; it will come back.
    }
  }

  attachAll() {
    this.app.client.ask({ type: "sessions.watch" }).then(
      ({ running }) => running.forEach((about) => this.attach(about)),
      () => {},
    );
  }

  /** Show an answer that somebody has asked for in this conversation. */
  attach(about) {
    if (about.session_id !== this.id || this.lives.has(about.response_id)) return;
    const live = new Live(about);
    this.lives.set(live.id, live);
    this.head = live.messageId;
    this.changed();
    this.follow(live);
  }

  async follow(live) {
    try {
      await this.app.client.ask({
        type: "response.attach", response_id: live.id, starting_after: live.last,
      });
    } catch (error) {
      if (error.code !== "response_not_found") return;
      this.forget(live);
      this.reloadSoon();
    }
  }

  // ---- what one does

  /** Ask; returns whether the question was accepted. `parent` is the message to go on from. */
  async ask(text, parent = this.head) {
    this.pending = { text, parent_id: parent };
    this.app.set({ notice: null });
    return this.create({ input: text, parent });
  }

  /** Answer a question, again: another branch. */
  async answer(questionId, more = {}) {
    this.app.set({ notice: null });
    return this.create({ parent: questionId, ...more });
  }

  async create(body) {
    const { app } = this;
    const model = app.models.find((m) => m.id === body.model) ?? app.model;
    const { pending, visit } = this;
    this.creating++;
    try {
      const sessionId = this.id ?? (await app.sessions.create(body.input, this.system || null)).id;
      if (this.visit === visit && this.id === null) {
        this.id = sessionId;
        app.prefs.set("session", sessionId);
        app.emit("session", { id: sessionId });
      }
      const wanted = app.inspector.isActive && model?.capabilities.logprobs;
      const created = await app.client.ask({
        type: "response.create", conversation: sessionId, background: true,
        return_token_ids: true, model: model?.id,
        ...requestParams(app.params, model?.capabilities),
        ...(wanted ? { top_logprobs: TOP } : {}),
        ...body,
      });
      this.accepted(created, body);
      return true;
    } catch (error) {
      app.fail(error);
      return false;
    } finally {
      this.creating--;
      if (this.pending === pending) this.pending = null;
      this.deferred.splice(0).forEach((about) => this.attach(about));
      this.changed();
    }
  }

  accepted(created, body) {
    const { response } = created;
    const messageId = `msg_${created.response_id.replace(/^resp_/, "")}`;
    const question = response.context.question_id;
    const sessionId = response.conversation.id;
    if (body.input !== undefined && sessionId === this.id && !this.tree.byId.has(question)) {
      this.messages = [...this.messages, {
        id: question, parent_id: body.parent, role: "user", content: body.input,
        created_at: response.created_at, details: {},
      }];
    }
    if (!this.lives.has(created.response_id)) {
      const live = new Live({
        response_id: created.response_id, message_id: messageId, session_id: sessionId,
        question_id: question, model: response.model,
      });
      live.last = created.sequence_number;
      this.lives.set(live.id, live);
    }
    this.app.sessions.running.set(sessionId, created.response_id);
    if (sessionId === this.id) {
      this.head = messageId;
      this.target = { id: null };
    }
    this.app.say(this.app.t("answering"));
  }

  stop() {
    if (this.live) this.app.client.tell({ type: "response.cancel", response_id: this.live.id });
  }

  regenerate(message) {
    return this.answer(message.parent_id);
  }

  /** Go on where an answer ended. Its own tokens are used where they are known. */
  continueAnswer(message) {
    const ids = message.details.token_ids;
    const cut = message.details.finish_reason !== "stop" && ids?.length > 0;
    const prefix = cut ? { token_ids: ids } : { text: message.content };
    return this.answer(message.parent_id, { prefix, ...this.sameModel(message, cut) });
  }

  /** Another token in place of one of an answer's, and on from there. */
  fork(message, tokens, index, tokenId) {
    const ids = [...tokens.slice(0, index).map((token) => token.id), tokenId];
    return this.answer(message.parent_id, {
      prefix: { token_ids: ids }, ...this.sameModel(message, true),
    });
  }

  /** Token ids mean something to their own model only. */
  sameModel(message, needed) {
    const model = message.details.model;
    return needed && this.app.models.some((m) => m.id === model) ? { model } : {};
  }

  /** A message in other words: a question is asked again, anything else only kept. */
  async edit(message, text, askAgain) {
    this.editing = null;
    if (askAgain) return this.ask(text, message.parent_id);
    const body = { parent_id: message.parent_id, role: message.role, content: text };
    const path = `/v1/sessions/${this.id}/messages`;
    const added = await this.app.attempt(() => this.app.client.post(path, body));
    if (added) {
      this.messages = [...this.messages, added];
      this.head = added.id;
      this.changed();
    }
    return added !== undefined;
  }

  async remove(message) {
    const { app, id } = this;
    await app.attempt(async () => {
      const head = this.head;
      clearTimeout(this.contextTimer); // it would ask about what is gone
      const gone = await app.client.delete(`/v1/sessions/${id}/messages/${message.id}`);
      await this.reload();
      app.toast(app.t("messageDeleted"), () =>
        app.attempt(async () => {
          await app.client.post(`/v1/sessions/${id}/restore`, { data: gone.data, head });
          if (this.id === id) await this.reload();
        }),
      );
    });
  }

  /** Show the branch of a message, down to its newest end. */
  choose(id) {
    const leaf = newestLeaf(this.tree, id);
    if (leaf === this.head) return;
    this.head = leaf;
    this.changed();
    this.refreshContext();
    if (this.tree.byId.get(leaf).live) return;
    const path = `/v1/sessions/${this.id}`;
    this.app.attempt(() => this.app.client.patch(path, { head: leaf }));
  }

  /** The branch beside this one; `step` is 1 or -1. */
  step(message, step) {
    const { index, ids } = siblingsOf(this.tree, message.id);
    const next = ids[index + step];
    if (next) this.choose(next);
  }

  /** Bring a message into sight, on whichever branch it is. */
  show(id) {
    this.rebuild();
    if (!this.tree.byId.has(id)) return;
    if (!this.path.some((message) => message.id === id)) this.choose(id);
    this.target = { id };
  }

  setEditing(id) {
    this.editing = id;
    this.app.changed();
  }

  async setSystem(text) {
    this.system = text;
    this.app.changed();
    if (this.id) {
      const body = { system: text || null };
      await this.app.attempt(() => this.app.client.patch(`/v1/sessions/${this.id}`, body));
      this.refreshContext();
    } else {
      this.app.prefs.set("system", text);
    }
  }

  /** What the next question would find in the model's context. */
  refreshContext() {
    clearTimeout(this.contextTimer);
    this.contextTimer = setTimeout(async () => {
      const { id, head, app } = this;
      if (!id || !app.model || this.live) return;
      const leaf = head ? `&leaf=${head}` : "";
      const path =
        `/v1/sessions/${id}/context?model=${encodeURIComponent(app.model.id)}` +
        `&max_output_tokens=${app.params.max_output_tokens}${leaf}`;
      try {
        const use = await app.client.get(path);
        if (this.id === id && this.head === head) this.use = use;
        app.changed();
      } catch {
        this.use = null; // it is only shown, never needed
      }
    }, SOON_MS);
  }
}
