// The front end of airust/ui in a widget.

import { mount } from "../../ui/main.js";
import { commTransport } from "../../ui/transport/comm.js";

/** Put the front end into `root`. Returns how to take it away. */
export default function attach({ model, root, styles }) {
  const listeners = [];
  const on = (name, listener) => {
    model.on(name, listener);
    listeners.push([name, listener]);
  };
  const transport = commTransport({
    send(message) {
      try {
        model.send(message);
      } catch {
        queueMicrotask(() => transport.cut()); // the kernel is gone; it never comes back for us
      }
    },
    onMessage(listener) {
      model.on("msg:custom", listener);
      return () => model.off("msg:custom", listener);
    },
  });
  const show = () =>
    mount(root, transport, {
      assets: {
        styles: [...styles],
        font: (file) => transport.file(`/ui/vendor/katex/fonts/${file}`),
      },
      sessionId: model.get("session") || undefined,
      language: model.get("language") || undefined,
      theme: model.get("theme") || root.dataset.theme,
      height: "100%",
      onEvent(name, detail) {
        if (name === "session") model.set("session", detail?.id ?? "");
        else if (name === "race") model.set("_race", detail);
        else return;
        model.save_changes();
      },
    });
  let panel = show();
  // The notebook has changed its theme, and the panel follows; drafts are kept by the front end.
  const themed = new MutationObserver(() => {
    if (model.get("theme")) return;
    panel.destroy();
    panel = show();
  });
  themed.observe(root, { attributeFilter: ["data-theme"] });
  on("msg:custom", (message) => {
    if (message.kind === "changed") panel.open(message.session);
  });
  on("change:session", () => {
    const wanted = model.get("session");
    if (wanted && wanted !== panel.state().sessionId) panel.open(wanted);
  });
  on("destroy", () => transport.cut());
  return {
    destroy() {
      themed.disconnect();
      for (const [name, listener] of listeners) model.off(name, listener);
      panel.destroy();
      transport.close();
    },
  };
}
