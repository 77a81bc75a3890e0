// Above the conversation: its title, the model, and the doors to everything else.

import { html } from "../vendor/preact/standalone.module.js";
import { Icon, IconButton } from "./icons.js";

const PANELS = [["tokens", "tokens"], ["tree", "tree"], ["context", "context"], ["settings", "settings"]];

export function TopBar({ app, withSidebar }) {
  const { t, models, model } = app;
  return html`
    <header class="topbar">
      ${withSidebar &&
      html`<${IconButton} name="menu" class="only-narrow" label=${t("menu")}
        aria-expanded=${app.isSidebarOpen} onClick=${() => app.set({ isSidebarOpen: true })} />`}
      <div class="model-choice">
        <select aria-label=${t("model")} title=${t("model")} value=${model?.id ?? ""}
          disabled=${models.length === 0} onChange=${(event) => app.chooseModel(event.target.value)}>
          ${models.map((m) => html`<option key=${m.id} value=${m.id} selected=${m === model}>${m.id}</option>`)}
        </select>
        ${model && !model.id.includes(model.engine) &&
        html`<span class="engine" title=${t("model")}>${model.engine}</span>`}
      </div>
      <nav class="doors" aria-label=${t("panelTabs")}>
        ${PANELS.map(([name, icon]) => html`
          <button type="button" key=${name} class="door" aria-pressed=${app.panel === name && !app.isRacing}
            aria-label=${t(name)} title=${t(name)} onClick=${() => app.togglePanel(name)}>
            <${Icon} name=${icon} /><span>${t(name)}</span>
          </button>`)}
        <button type="button" class="door" aria-pressed=${app.isRacing} aria-label=${t("race")} title=${t("race")}
          onClick=${() => app.toggleRace()}>
          <${Icon} name="race" /><span>${t("race")}</span>
        </button>
      </nav>
    </header>
  `;
}
