// All branches of a conversation as an outline.

import { html } from "../vendor/preact/standalone.module.js";
import { outline } from "../tree.js";

const EXCERPT = 90;

export function TreeView({ app }) {
  const { t, conversation } = app;
  const rows = outline(conversation.tree);
  if (rows.length === 0) return html`<p class="hint">${t("noBranches")}</p>`;
  const shown = new Set(conversation.path.map((message) => message.id));
  const onKey = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...event.currentTarget.querySelectorAll("button")];
    all[all.indexOf(event.target) + step]?.focus();
  };
  return html`
    <p class="hint">${t("branches")}</p>
    <ol class="outline" onKeyDown=${onKey}>
      ${rows.map(({ message, depth, forks }) => html`
        <li key=${message.id} class=${`depth-${Math.min(depth, 6)} ${message.role} ${shown.has(message.id) ? "shown" : ""}`}>
          <button type="button" aria-current=${message.id === conversation.head ? "true" : null}
            onClick=${() => { conversation.show(message.id); app.changed(); }}>
            <span class="dot ${forks ? "fork" : ""}" aria-hidden="true"></span>
            <span class="who">${message.role === "user" ? t("you") : (message.details.model ?? t("assistant"))}</span>
            <span class="excerpt">${(message.live?.text ?? message.content).slice(0, EXCERPT)}</span>
          </button>
        </li>`)}
    </ol>
  `;
}
