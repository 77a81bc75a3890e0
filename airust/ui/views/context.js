// What the next question would find in the model's context, in tokens.

import { html } from "../vendor/preact/standalone.module.js";

export function ContextView({ app }) {
  const { t, conversation } = app;
  const { use, path } = conversation;
  if (!use) return html`<p class="hint">${t("noBranches")}</p>`;
  if (use.prompt_tokens === null) return html`<p class="hint">${t("contextUnknown")}</p>`;
  const max = use.max_model_len ?? Math.max(use.prompt_tokens, 1);
  const shown = use.messages.filter((cost) => cost.shown);
  const left = use.messages.length - shown.length;
  const inside = shown.reduce((sum, cost) => sum + cost.tokens, use.system_tokens);
  const form = Math.max(0, use.prompt_tokens - inside);
  const share = (tokens) => ({ width: `${(100 * tokens) / max}%` });
  const last = path.filter((message) => message.details.prompt_tokens).at(-1)?.details;
  const cached = last?.cached_tokens ?? 0;
  const words = use.max_model_len
    ? t("contextUsed", { used: use.prompt_tokens, max: use.max_model_len })
    : t("contextOpen", { used: use.prompt_tokens });
  const texts = new Map(path.map((message) => [message.id, message.content]));
  const longest = Math.max(1, ...use.messages.map((cost) => cost.tokens), use.system_tokens);
  return html`
    <p class="hint">${t("contextHint")}</p>
    <p class="big">${words}</p>
    <div class="ruler" role="img" aria-label=${words}>
      ${use.system_tokens > 0 && html`<i class="system" style=${share(use.system_tokens)} title=${`${t("systemPart")}: ${use.system_tokens}`}></i>`}
      ${shown.map((cost) => html`<i key=${cost.id} class=${cost.role} style=${share(cost.tokens)} title=${`${cost.tokens}`}></i>`)}
      ${form > 0 && html`<i class="form" style=${share(form)} title=${`${t("frame")}: ${form}`}></i>`}
    </div>
    <ul class="ruler-legend">
      ${use.system_tokens > 0 && html`<li class="system">${t("systemPart")} ${use.system_tokens}</li>`}
      <li class="user">${t("you")} ${sum(shown, "user")}</li>
      <li class="assistant">${t("assistant")} ${sum(shown, "assistant")}</li>
      <li class="form">${t("frame")} ${form}</li>
    </ul>
    ${left > 0 && html`<p class="note-left">${t("leftHint", { n: left })}</p>`}
    ${last &&
    html`
      <h3>${t("cached")}</h3>
      <div class="ruler" aria-hidden="true"><i class="cached" style=${{ width: `${(100 * cached) / Math.max(1, last.prompt_tokens)}%` }}></i></div>
      <p class="hint">${cached > 0 ? t("cachedHint", { cached, prompt: last.prompt_tokens }) : t("cachedNone")}</p>
    `}
    <h3>${t("messagesCost")}</h3>
    <ol class="costs">
      ${use.messages.map((cost) => html`
        <li key=${cost.id} class=${`${cost.role} ${cost.shown ? "" : "left"}`}>
          <button type="button" onClick=${() => { conversation.show(cost.id); app.changed(); }}>
            <span class="excerpt">${(texts.get(cost.id) ?? "").slice(0, 80)}</span>
            <span class="n">${cost.shown ? "" : `${t("left")} · `}${cost.tokens}</span>
            <span class="bar" style=${{ width: `${(100 * cost.tokens) / longest}%` }}></span>
          </button>
        </li>`)}
    </ol>
  `;
}

function sum(costs, role) {
  return costs.filter((cost) => cost.role === role).reduce((total, cost) => total + cost.tokens, 0);
}
