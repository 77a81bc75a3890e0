// An answer token by token. One tab stop; arrow keys move inside.

import { Component, html } from "../vendor/preact/standalone.module.js";
import { levelOf } from "../tokens.js";

export class AnswerTokens extends Component {
  shouldComponentUpdate(next) {
    // A live list grows in place, so it is compared by what was drawn last.
    return next.tokens !== this.props.tokens || next.isLive || this.changedChoice(next) || this.props.isLive;
  }

  changedChoice({ app, message }) {
    const { chosen, by } = app.inspector;
    const index = chosen?.message.id === message.id ? chosen.index : null;
    return index !== this.shownIndex || by !== this.shownBy;
  }

  choose = (index) => {
    const { app, message, tokens } = this.props;
    if (index >= 0 && index < tokens.length) app.inspector.choose(message, tokens, index);
  };

  onPoint = (event) => {
    const token = event.target.closest("[data-token]");
    if (token) this.choose(Number(token.dataset.token));
  };

  onClick = (event) => {
    const { app } = this.props;
    const token = event.target.closest("[data-token]");
    if (!token) return;
    this.choose(Number(token.dataset.token));
    token.focus();
    if (app.panel !== "tokens") app.set({ panel: "tokens" });
  };

  onKeyDown = (event) => {
    const token = event.target.closest("[data-token]");
    if (!token) return;
    const { app, tokens } = this.props;
    const index = Number(token.dataset.token);
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.base.querySelector(`[data-token="${to}"]`)?.focus();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      app.set({ panel: "tokens" });
      const panel = this.base.closest(".panel");
      requestAnimationFrame(() => panel.querySelector(".alternative")?.focus());
    }
  };

  render({ app, message, tokens }) {
    const { chosen, by } = app.inspector;
    this.shownIndex = chosen?.message.id === message.id ? chosen.index : null;
    this.shownBy = by;
    const stop = this.shownIndex ?? 0;
    return html`
      <div class="answer-tokens" role="group" aria-label=${app.t("tokens")}
        onMouseOver=${this.onPoint} onfocusin=${this.onPoint} onClick=${this.onClick} onKeyDown=${this.onKeyDown}>
        ${tokens.map((token, i) => html`<${Token} key=${i} index=${i} text=${token.text} logprob=${token.logprob}
          level=${levelOf(tokens, i, by)} isStop=${i === stop} isChosen=${i === this.shownIndex} />`)}
      </div>
    `;
  }
}

class Token extends Component {
  shouldComponentUpdate(next) {
    return Object.keys(next).some((name) => next[name] !== this.props[name]);
  }

  render({ index, text, logprob, level, isStop, isChosen }) {
    const percent = logprob === null ? null : `${(100 * Math.exp(logprob)).toFixed(1)} %`;
    return html`<span
      class=${`token level-${level} ${isChosen ? "chosen" : ""}`}
      data-token=${index}
      role="button"
      tabindex=${isStop ? 0 : -1}
      aria-description=${percent}
      >${text === null || text === "" || text.includes("\ufffd") ? "▯" : text}</span
    >`;
  }
}
