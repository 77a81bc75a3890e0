// The side panel: settings, tokens, branches, context.

import { html, useEffect, useRef } from "../vendor/preact/standalone.module.js";
import { ContextView } from "./context.js";
import { IconButton } from "./icons.js";
import { SettingsView } from "./settings.js";
import { TokenView } from "./token.js";
import { TreeView } from "./tree.js";

const VIEWS = { settings: SettingsView, tokens: TokenView, tree: TreeView, context: ContextView };

export function SidePanel({ app }) {
  const { t, panel } = app;
  const View = VIEWS[panel];
  const heading = useRef();
  useEffect(() => {
    // Tokens follow the pointer or the arrow keys: the focus must stay in the answer.
    if (panel !== "tokens") heading.current.focus();
  }, [panel]);
  return html`
    <aside class="side" aria-label=${t(panel)}>
      <div class="side-head">
        <h2 tabindex="-1" ref=${heading}>${t(panel)}</h2>
        <${IconButton} name="close" label=${t("closePanel")} onClick=${() => app.set({ panel: null })} />
      </div>
      <div class="side-body"><${View} app=${app} /></div>
    </aside>
  `;
}
