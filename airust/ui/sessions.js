// The list of conversations: create, rename, delete and undo, search, in and out.

const SEARCH_WAIT_MS = 150;
const LONGEST_TITLE = 60; // characters of a question that become one

export class Sessions {
  constructor(app) {
    this.app = app;
    this.list = [];
    this.query = "";
    this.hits = null; // null: no search
    this.running = new Map(); // session id -> response id
    this.renaming = null;
  }

  async refresh() {
    this.list = (await this.app.client.get("/v1/sessions?limit=500")).data;
    this.app.changed();
  }

  /** Once, however many changes come together. */
  refreshSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh().catch(() => {}), 50);
  }

  heard(event) {
    if (event.change === "answering") this.running.set(event.session_id, event.response.response_id);
    if (event.change === "answered") this.running.delete(event.session_id);
    this.refreshSoon();
  }

  /** Begin one. It is called after its first question at once: a list of "New chat" tells nothing. */
  async create(question, system = null) {
    const title = question.trim().split(/\s+/).join(" ").slice(0, LONGEST_TITLE);
    const made = await this.app.client.post("/v1/sessions", { title, ...(system ? { system } : {}) });
    this.list = [made, ...this.list.filter((session) => session.id !== made.id)];
    this.app.changed();
    return made;
  }

  async rename(id, title) {
    this.renaming = null;
    this.app.changed();
    const clean = title.trim();
    if (!clean) return;
    await this.app.attempt(async () => {
      const changed = await this.app.client.patch(`/v1/sessions/${id}`, { title: clean });
      this.list = this.list.map((session) => (session.id === id ? changed : session));
      if (this.app.conversation.id === id) this.app.conversation.title = changed.title;
      this.app.changed();
    });
  }

  /** Delete, and offer to put it back: the whole tree is kept until then. */
  async remove(id) {
    const { app } = this;
    await app.attempt(async () => {
      const saved = await app.client.get(`/v1/sessions/${id}/export?format=json`);
      const title = this.list.find((session) => session.id === id)?.title ?? "";
      const wasOpen = app.conversation.id === id; // soon every tab is told that it is gone
      if (wasOpen) clearTimeout(app.conversation.contextTimer); // it would ask about what is gone
      await app.client.delete(`/v1/sessions/${id}`);
      const place = this.list.findIndex((session) => session.id === id);
      this.list = this.list.filter((session) => session.id !== id);
      if (wasOpen) {
        const next = this.list[Math.min(place, this.list.length - 1)];
        if (next) await app.conversation.open(next.id);
        else app.conversation.begin();
      }
      app.toast(app.t("chatDeleted", { title }), () => this.putBack(saved));
    });
  }

  async putBack(saved) {
    const { app } = this;
    await app.attempt(async () => {
      const [session] = (await app.client.post("/v1/sessions/import", saved)).data;
      await this.refresh();
      await app.conversation.open(session.id);
      app.say(app.t("restored"));
    });
  }

  /** Search as one types; the answer to an older question is dropped. */
  search(query) {
    this.query = query;
    clearTimeout(this.searchTimer);
    if (!query.trim()) {
      this.hits = null;
      this.app.changed();
      return;
    }
    this.app.changed();
    this.searchTimer = setTimeout(async () => {
      const path = `/v1/sessions/search?q=${encodeURIComponent(query.trim())}`;
      const found = await this.app.attempt(() => this.app.client.get(path));
      if (found && this.query === query) {
        this.hits = found.data;
        this.app.say(found.data.length === 0 ? this.app.t("searchNothing") : String(found.data.length));
        this.app.changed();
      }
    }, SEARCH_WAIT_MS);
  }

  async exportOne(id, format) {
    const { app } = this;
    const path = `/v1/sessions/${id}/export?format=${format}`;
    const found = await app.attempt(() => app.client.get(path));
    if (found === undefined) return;
    const title = this.list.find((session) => session.id === id)?.title ?? "chat";
    const name = title.replace(/[^\p{L}\p{N} _-]/gu, "").trim().slice(0, 60) || "chat";
    if (format === "json") save(`${name}.json`, JSON.stringify(found, null, 2), "application/json");
    else save(`${name}.md`, found, "text/markdown");
  }

  async exportAll() {
    const found = await this.app.attempt(() => this.app.client.get("/v1/sessions/export"));
    if (found) save("sessions.json", JSON.stringify(found, null, 2), "application/json");
  }

  async importFile(file) {
    const { app } = this;
    await app.attempt(async () => {
      const body = JSON.parse(await file.text());
      const { data } = await app.client.post("/v1/sessions/import", body);
      await this.refresh();
      app.toast(app.t("imported", { n: data.length }));
      if (data.length > 0) await app.conversation.open(data[data.length - 1].id);
    });
  }
}

/** Offer a text as a file. */
function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
