// The chat panel: `mount` puts it into any element. See transport/README.md for its hosts.

import { html, render } from "./vendor/preact/standalone.module.js";
import { App } from "./app.js";
import { adoptStyles } from "./styles.js";
import { Root } from "./views/root.js";

/** Put a chat panel into `root`; returns how to talk to it and how to take it away. */
export function mount(root, transport, options = {}) {
  const host = document.createElement("div");
  host.style.display = "block";
  host.style.height = options.height ?? "100%";
  const shadow = host.attachShadow({ mode: "open" });
  const place = document.createElement("div");
  place.className = "place";
  shadow.append(place);
  root.append(host);
  const app = new App(transport, options);
  let isStyled = false; // bare elements would be seen for a moment, and measured wrongly
  const draw = () => isStyled && render(html`<${Root} app=${app} />`, place);
  const forget = app.onChange(draw);
  adoptStyles(shadow, options.assets ?? {}).finally(() => {
    isStyled = true;
    draw();
  });
  app.start();
  return {
    destroy() {
      forget();
      app.close();
      render(null, place);
      host.remove();
    },
    ask: (text) => app.conversation.ask(text),
    stop: () => app.conversation.stop(),
    open: (sessionId) => app.conversation.open(sessionId),
    state: () => ({
      sessionId: app.conversation.id,
      messages: app.conversation.path,
      model: app.model?.id ?? null,
      race: app.race.result(),
    }),
  };
}
