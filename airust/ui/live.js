// A response while it comes in: its text, its tokens and its pace.

import { frameBatcher } from "./frames.js";

const ENDS = ["response.completed", "response.incomplete", "response.failed"];

export class Live {
  /** `about`: what `sessions.watching` and `answering` tell; `schedule` is for tests. */
  constructor(about, schedule) {
    this.id = about.response_id;
    this.messageId = about.message_id;
    this.sessionId = about.session_id;
    this.questionId = about.question_id;
    this.model = about.model;
    this.text = "";
    this.tokens = []; // { id, text, logprob, top, seconds }
    this.last = -1; // sequence number
    this.ended = false;
    this.response = null; // once it has ended
    this.error = null;
    this.listeners = new Set();
    this.frames = frameBatcher(() => this.listeners.forEach((listener) => listener()), schedule);
  }

  /** Call back in the next frame after something has come. */
  onChange(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Take an event in; one that is known already (after attaching again) changes nothing. */
  take(event) {
    if (event.sequence_number <= this.last) return;
    this.last = event.sequence_number;
    if (event.type === "response.output_text.delta") this.grow(event);
    if (ENDS.includes(event.type)) {
      this.ended = true;
      this.response = event.response;
      this.error = event.response.error;
    }
    this.frames.request();
  }

  grow(event) {
    this.text += event.delta;
    const ids = event.token_ids ?? [];
    const { seconds = null } = event;
    const bare = { text: null, logprob: null, top: [], seconds };
    if (event.logprobs.length > 0) {
      for (const entry of event.logprobs) this.tokens.push(tokenOf(entry, seconds));
    } else if (ids.length > 0) {
      for (const id of ids) this.tokens.push({ ...bare, id });
    } else if (event.delta) {
      this.tokens.push({ ...bare, id: null, text: event.delta }); // the engine tells no ids
    }
  }

  /** Seconds until the first token that the engine chose itself. */
  get ttft() {
    return this.response?.timings?.ttft_s ?? this.tokens[0]?.seconds ?? null;
  }

  /** Tokens so far; at the end as the engine has counted them. */
  get count() {
    return this.response?.usage?.output_tokens ?? this.tokens.length;
  }

  /** Tokens a second after the first one, at the end by the engine's clock; null until there are
   * two moments to compare. */
  get rate() {
    const timings = this.response?.timings;
    if (timings && this.count > 1 && timings.total_s > timings.ttft_s) {
      return (this.count - 1) / (timings.total_s - timings.ttft_s);
    }
    return rateOf(this.tokens.map((token) => token.seconds));
  }

  /** What the service keeps beside the text of an answer. */
  details() {
    const known = this.tokens.filter((token) => token.id !== null); // not text that was held back
    return {
      model: this.model,
      finish_reason: this.finishReason,
      completion_tokens: this.count,
      ...(this.response?.timings ? { timings: this.response.timings } : {}),
      ...(known.length > 0
        ? {
            token_ids: known.map((token) => token.id),
            token_times_s: known.map((token) => token.seconds),
          }
        : {}),
    };
  }

  get finishReason() {
    if (!this.ended) return null;
    if (this.error) return "failed";
    const reason = this.response.incomplete_details?.reason;
    return reason === "max_output_tokens" ? "length" : (reason ?? "stop");
  }
}

/** Tokens a second from the moments at which they came. */
export function rateOf(times) {
  if (times.length < 2) return null;
  const span = times[times.length - 1] - times[0];
  return span > 0 ? (times.length - 1) / span : null;
}

/** A token as the panel has it, from the service's form. */
export function tokenOf(entry, seconds = null) {
  return {
    id: entry.token_id,
    text: entry.token,
    logprob: entry.logprob,
    top: entry.top_logprobs.map((t) => ({ id: t.token_id, text: t.token, logprob: t.logprob })),
    seconds,
  };
}
