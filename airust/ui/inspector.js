// The tokens of answers, for those who look: live ones as they come, old ones asked for.

const ASKED_TOP = 10;

export class Inspector {
  constructor(app) {
    this.app = app;
    this.isActive = app.prefs.get("inspect", false);
    this.by = app.prefs.get("colour", "probability");
    this.found = new Map(); // message id -> tokens, "asking", or "none"
    this.chosen = null; // { message, tokens, index }
  }

  setActive(isActive) {
    this.isActive = isActive;
    this.app.prefs.set("inspect", isActive);
    if (!isActive) this.chosen = null;
    this.app.changed();
  }

  setColour(by) {
    this.by = by;
    this.app.prefs.set("colour", by);
    this.app.changed();
  }

  /** The tokens of an answer that has just ended, if all of them have told their probabilities. */
  keep(live) {
    const whole = live.tokens.length > 0 && live.tokens.every((token) => token.logprob !== null);
    if (whole && live.ended && !live.error) this.found.set(live.messageId, live.tokens);
  }

  /** The tokens of a message; asks for them when nobody did yet. */
  tokensOf(message) {
    const found = this.found.get(message.id);
    if (found === undefined && !message.live) {
      this.found.set(message.id, "asking");
      this.ask(message);
    }
    return found ?? "asking";
  }

  /** Which model is asked about a message: its own if it can tell, otherwise the chosen one. */
  modelFor(message) {
    const { models, model } = this.app;
    const own = models.find((m) => m.id === message.details.model);
    return own?.capabilities.logprobs ? own : model?.capabilities.logprobs ? model : null;
  }

  async ask(message) {
    const { app } = this;
    const model = this.modelFor(message);
    if (!model || !message.content) {
      this.found.set(message.id, "none");
      app.changed();
      return;
    }
    const path = app.conversation.path;
    const place = path.findIndex((m) => m.id === message.id);
    const before = path.slice(message.details.left_out ?? 0, place);
    const system = app.conversation.system;
    const ids = model.id === message.details.model ? message.details.token_ids : undefined;
    try {
      const answer = await app.client.post("/v1/inspect", {
        model: model.id,
        messages: [
          ...(system ? [{ role: "system", content: system }] : []),
          ...before.map(({ role, content }) => ({ role, content })),
        ],
        ...(ids?.length > 0 ? { token_ids: ids } : { text: message.content }),
        top_logprobs: ASKED_TOP,
      });
      const times = ids ? message.details.token_times_s : undefined;
      const tokens = answer.tokens.map((entry, i) => ({
        id: entry.token_id,
        text: entry.token,
        logprob: entry.logprob,
        top: entry.top_logprobs.map((t) => ({ id: t.token_id, text: t.token, logprob: t.logprob })),
        seconds: times?.[i] ?? null,
      }));
      this.found.set(message.id, tokens);
      app.emit("token", { messageId: message.id, tokens });
    } catch (error) {
      this.found.set(message.id, "none");
      // An answer that is too long for this model just stays without colours.
      if (!["unreachable", "context_length_exceeded"].includes(error.code)) app.fail(error);
    }
    app.changed();
  }

  choose(message, tokens, index) {
    this.chosen = { message, tokens, index };
    this.app.changed();
  }
}
