// The chat panel: `mount` puts it into any element. See transport/README.md for its hosts.

import { html, render } from "./vendor/preact/standalone.module.js";
import { App } from "./app.js";
import { adoptStyles } from "./styles.js";
import { Root } from "./views/root.js";

/** Put a chat panel into `root`; returns how to talk to it and how to take it away. */
export function mount(root, transport, options = {}) {
  const host = (root.ownerDocument ?? document).createElement("div");
  host.style.display = "block";
  host.style.height = options.height ?? "100%";
  const shadow = host.attachShadow({ mode: "open" });
  root.append(host);
  adoptStyles(shadow, options.assets ?? {});
  const place = document.createElement("div");
  place.className = "place";
  shadow.append(place);
  const app = new App(transport, options);
  const draw = () => render(html`<${Root} app=${app} />`, place);
  const forget = app.onChange(draw);
  draw();
  app.start();
  return {
    destroy() {
      forget();
      app.close();
      render(null, place);
      host.remove();
    },
    ask: (text) => app.ask(text),
    stop: () => app.stop(),
    open: (sessionId) => app.openSession(sessionId),
    state: () => app.snapshot(),
  };
}
