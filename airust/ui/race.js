// The same question to several engines at once, or one after another.

import { Live } from "./live.js";
import { requestParams } from "./prefs.js";
import { firstDifference } from "./tokens.js";

export class Race {
  constructor(app) {
    this.app = app;
    this.chosen = null; // model ids; null: the first ones
    this.inTurn = false;
    this.withHistory = false;
    this.prompt = "";
    this.runners = []; // { model, live, error }
    this.isRunning = false;
    this.byId = new Map();
  }

  get racers() {
    return this.chosen ?? this.app.models.slice(0, 3).map((model) => model.id);
  }

  toggle(id) {
    const racers = this.racers;
    this.chosen = racers.includes(id) ? racers.filter((r) => r !== id) : [...racers, id];
    this.app.changed();
  }

  set(values) {
    Object.assign(this, values);
    this.app.changed();
  }

  async run(prompt) {
    const { app } = this;
    const models = app.models.filter((model) => this.racers.includes(model.id));
    const history = this.withHistory ? app.conversation.path : [];
    const system = app.conversation.system;
    const input = [
      ...(system ? [{ role: "system", content: system }] : []),
      ...history.map(({ role, content }) => ({ role, content })),
      { role: "user", content: prompt },
    ];
    this.stop();
    const runners = models.map((model) => ({ model, live: null, error: null }));
    this.set({ prompt, runners, isRunning: true });
    const start = (runner) => this.start(runner, input);
    if (this.inTurn) for (const runner of runners) await start(runner);
    else await Promise.all(runners.map(start));
    if (this.runners !== runners) return; // another race has begun
    this.set({ isRunning: false });
    app.say(this.summary());
    app.emit("race", this.result());
  }

  /** Begin one, and wait for its end. */
  async start(runner, input) {
    const { app } = this;
    if (!this.runners.includes(runner) || this.wasStopped(runner)) return;
    try {
      const created = await app.client.ask({
        type: "response.create", input, model: runner.model.id, return_token_ids: true,
        truncation: runner.model.capabilities.trim ? "auto" : "disabled",
        ...requestParams(app.params, runner.model.capabilities),
      });
      const live = new Live({ response_id: created.response_id, model: runner.model.id });
      live.last = created.sequence_number;
      runner.live = live;
      this.byId.set(live.id, live);
      app.changed();
      await new Promise((resolve) => live.onChange(() => live.ended && resolve()));
      runner.error = live.error;
    } catch (error) {
      runner.error = error;
    }
    app.changed();
  }

  wasStopped(runner) {
    return runner.stopped === true;
  }

  heard(event) {
    this.byId.get(event.response_id)?.take(event);
  }

  stop() {
    for (const runner of this.runners) {
      runner.stopped = true;
      if (runner.live && !runner.live.ended) {
        this.app.client.tell({ type: "response.cancel", response_id: runner.live.id });
      }
    }
  }

  answers() {
    return this.runners
      .filter((runner) => runner.live && !runner.error)
      .map(({ live }) => ({ text: live.text, tokens: live.tokens, ended: live.ended }));
  }

  /** Where the answers first differ. */
  get difference() {
    const answers = this.answers();
    return answers.length > 1 ? firstDifference(answers) : null;
  }

  summary() {
    const at = this.difference;
    const t = this.app.t;
    if (at === null) return t(this.isRunning ? "agreesAll" : "agreedAll");
    return t(at.unit === "token" ? "differsAt" : "differsAtCharacter", { n: at.index + 1 });
  }

  /** One row an engine, for tables. */
  result() {
    return {
      prompt: this.prompt,
      in_turn: this.inTurn,
      first_difference: this.difference,
      rows: this.runners.map(({ model, live, error }) => ({
        model: model.id,
        engine: model.engine,
        ttft_s: live?.ttft ?? null,
        tokens_per_s: live?.rate ?? null,
        tokens: live?.count ?? 0,
        finish_reason: error ? "failed" : (live?.finishReason ?? null),
        text: live?.text ?? "",
      })),
    };
  }

  csv() {
    const { rows } = this.result();
    const names = Object.keys(rows[0] ?? {});
    const cell = (value) => `"${String(value ?? "").replace(/"/g, '""')}"`;
    return [names, ...rows.map((row) => names.map((name) => row[name]))]
      .map((line) => line.map(cell).join(","))
      .join("\n");
  }

  /** Put the question and one of the answers into the conversation. */
  async keep(runner) {
    const { app } = this;
    const chat = app.conversation;
    await app.attempt(async () => {
      if (!chat.id) await app.sessions.create(this.prompt).then((made) => chat.open(made.id));
      const path = `/v1/sessions/${chat.id}/messages`;
      const above = this.withHistory ? chat.head : null;
      const asked = { parent_id: above, role: "user", content: this.prompt };
      const question = await app.client.post(path, asked);
      const { live } = runner;
      const said = {
        parent_id: question.id, role: "assistant", content: live.text, details: live.details(),
      };
      await app.client.post(path, said);
      app.set({ isRacing: false });
      await chat.open(chat.id);
    });
  }
}
