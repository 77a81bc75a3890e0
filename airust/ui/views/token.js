// One token of an answer: what the model gave it, what else it considered, how long it took.

import { html } from "../vendor/preact/standalone.module.js";
import { entropyOf, LEVELS, stepOf, visible } from "../tokens.js";

const BY = ["probability", "entropy", "time"];

export function TokenView({ app }) {
  const { t, inspector } = app;
  return html`
    <label class="check">
      <input type="checkbox" checked=${inspector.isActive} onChange=${(event) => inspector.setActive(event.target.checked)} />
      ${t("tokensOff")}
    </label>
    ${inspector.isActive &&
    html`
      <label class="field">
        <span>${t("colourBy")}</span>
        <select value=${inspector.by} onChange=${(event) => inspector.setColour(event.target.value)}>
          ${BY.map((by) => html`<option key=${by} value=${by} selected=${by === inspector.by}>${t(by)}</option>`)}
        </select>
      </label>
      <div class="legend" aria-hidden="true">
        <span>${t("likely")}</span>
        ${Array.from({ length: LEVELS + 1 }, (_, i) => html`<i key=${i} class=${`level-${i}`}></i>`)}
        <span>${t("unlikely")}</span>
      </div>
      <${Chosen} app=${app} />
    `}
  `;
}

function Chosen({ app }) {
  const { t, inspector, model } = app;
  const { chosen } = inspector;
  if (!chosen) {
    const some = model?.capabilities.logprobs;
    return html`<p class="hint">${some ? t("tokensHint") : t("tokensNone")}</p>`;
  }
  const { message, tokens, index } = chosen;
  const token = tokens[index];
  const entropy = entropyOf(token);
  const step = stepOf(tokens, index);
  const rank = token.top.findIndex((top) => top.id === token.id);
  const bits = entropy && entropy.bits.toFixed(2);
  return html`
    <div class="token-card">
      <code class="token-text">${visible(token.text)}</code>
      <dl>
        ${token.logprob !== null && html`<div><dt>${t("probability")}</dt><dd>${percent(Math.exp(token.logprob))}</dd></div>`}
        ${entropy && html`<div><dt>${t("entropy")}</dt><dd>${t(entropy.exact ? "bits" : "atLeast", { n: bits })}</dd></div>`}
        <div><dt>${t("rank")}</dt><dd>${rank >= 0 ? rank + 1 : t("otherRank", { n: token.top.length })}</dd></div>
        ${step !== null && html`<div><dt>${t("step")}</dt><dd title=${t("sinceStart", { n: token.seconds.toFixed(3) })}>${t("ms", { n: (1000 * step).toFixed(1) })}</dd></div>`}
        <div><dt>${t("tokenId")}</dt><dd>${token.id}</dd></div>
        <div><dt>${t("position")}</dt><dd>${index + 1} / ${tokens.length}</dd></div>
      </dl>
    </div>
    <h3>${t("alternatives")}</h3>
    <${Alternatives} app=${app} message=${message} tokens=${tokens} index=${index} rest=${entropy?.rest ?? 0} />
  `;
}

function Alternatives({ app, message, tokens, index, rest }) {
  const { t, conversation } = app;
  const token = tokens[index];
  const model = app.models.find((m) => m.id === message.details.model) ?? app.model;
  const canFork = model?.capabilities.token_ids && !message.live && message.parent_id;
  const fork = (top) => conversation.fork(message, tokens, index, top.id);
  const all = token.top.some((top) => top.id === token.id)
    ? token.top
    : [...token.top, { id: token.id, text: token.text, logprob: token.logprob ?? -Infinity }];
  return html`
    <ol class="alternatives">
      ${all.map((top) => {
        const p = Math.exp(top.logprob);
        const isChosen = top.id === token.id;
        const words = t("forkHere", { token: visible(top.text) });
        return html`
          <li key=${top.id}>
            <button type="button" class=${`alternative ${isChosen ? "chosen" : ""}`} title=${isChosen ? t("chosen") : words}
              disabled=${isChosen || !canFork || conversation.isBusy} onClick=${() => fork(top)}>
              <span class="bar" style=${{ width: `${100 * p}%` }}></span>
              <code>${visible(top.text)}</code>
              <span class="p">${percent(p)}</span>
              <span class="unseen">${isChosen ? t("chosen") : ""}</span>
            </button>
          </li>
        `;
      })}
      ${rest > 0.0005 && html`<li class="rest"><span class="bar" style=${{ width: `${100 * rest}%` }}></span><span>${t("rest")}</span><span class="p">${percent(rest)}</span></li>`}
    </ol>
    ${!canFork && !message.live && html`<p class="hint">${t("cannotFork")}</p>`}
  `;
}

function percent(p) {
  const value = 100 * p;
  return `${value >= 10 || value === 0 ? value.toFixed(1) : value >= 0.01 ? value.toFixed(2) : "< 0.01"} %`;
}
