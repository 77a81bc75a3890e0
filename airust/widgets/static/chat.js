// The chat panel's beginning: it is saved with the notebook, so it is small. The front end itself
// comes from the kernel; without one, the last state of the conversation is shown.

import { followTheme, h, hideStill } from "./dom.js";
import { load } from "./loader.js";

const PATIENCE_MS = 5000;
// Panels of one page share the front end. By version: kernels may have different ones.
const loaded = (globalThis[Symbol.for("airust.chat")] ??= new Map());

function render({ model, el }) {
  hideStill(model.get("_still"));
  const note = h("p", { class: "note", role: "status" }, "Loading the chat…");
  const transcript = h("div", { class: "transcript" });
  const still = h("div", { class: "last-state" }, transcript, note);
  // Keys that are typed here are not the notebook's shortcuts.
  const root = h("section", { class: "airust-chat", "aria-label": "Chat", "data-lm-suppress-shortcuts": "true" }, still);
  el.append(root);

  const size = () => (root.style.height = model.get("height"));
  const tell = () => {
    const lines = model.get("_transcript");
    transcript.replaceChildren(
      ...lines.map(([role, text]) => h("div", { class: role }, h("strong", {}, role), h("div", {}, text))),
    );
  };
  size();
  tell();
  model.on("change:height", size);
  model.on("change:_transcript", tell);
  const leaveTheme = followTheme(root);

  let panel = null;
  let gone = false;
  const late = setTimeout(() => {
    note.textContent =
      "This is the last state. The chat goes on when a kernel runs and its present cell has ended.";
  }, PATIENCE_MS);
  frontEnd(model).then(
    ({ module, styles }) => {
      clearTimeout(late);
      if (gone) return;
      still.remove();
      panel = module.default({ model, root, styles });
    },
    (error) => {
      clearTimeout(late);
      note.textContent = `The chat could not be loaded: ${error.message}`;
    },
  );
  return () => {
    gone = true;
    clearTimeout(late);
    model.off("change:height", size);
    model.off("change:_transcript", tell);
    leaveTheme();
    panel?.destroy();
  };
}

function frontEnd(model) {
  const version = model.get("_version");
  if (!loaded.has(version)) {
    const promise = new Promise((resolve, reject) => {
      const hear = (message) => {
        if (message.kind !== "assets") return;
        model.off("msg:custom", hear);
        load(message.modules).then((module) => resolve({ module, styles: message.styles }), reject);
      };
      model.on("msg:custom", hear);
      model.send({ kind: "assets" });
    });
    loaded.set(version, promise);
    // Its kernel may be gone before it answered; the next panel then asks anew.
    model.on("destroy", () => loaded.delete(version));
    promise.catch(() => loaded.delete(version));
  }
  return loaded.get(version);
}

export default { render };
