// The keyboard. views/over.js shows the list of what is here.

const FIELDS = ["INPUT", "TEXTAREA", "SELECT"];

/** What the `?` dialog lists: keys and the name of their words. */
export const SHORTCUTS = [
  ["Enter", "shortcutSend"],
  ["Shift+Enter", "shortcutLine"],
  ["Esc", "shortcutStop"],
  ["/", "shortcutFocus"],
  ["↑", "shortcutLast"],
  ["Ctrl+K", "shortcutSearch"],
  ["Alt+N", "shortcutNew"],
  ["J  K", "shortcutMove"],
  ["← →", "shortcutBranch"],
  ["C  E  R  G", "shortcutMessage"],
  ["← →", "shortcutToken"],
  ["Enter", "shortcutFork"],
  ["1  2  3  4", "shortcutPanel"],
  ["?", "shortcutHelp"],
];

const PANELS = { 1: "settings", 2: "tokens", 3: "tree", 4: "context" };

/** Obey a key; `root` is the panel's element. */
export function onShortcut(app, root, event) {
  if (event.isComposing || event.defaultPrevented) return;
  const focused = root.getRootNode().activeElement;
  const isTyping = FIELDS.includes(focused?.tagName) && focused.type !== "checkbox";
  const command = event.ctrlKey || event.metaKey;
  const obey = (work) => {
    event.preventDefault();
    event.stopPropagation();
    work();
  };
  const focus = (selector) => root.querySelector(selector)?.focus();
  if (command && event.key.toLowerCase() === "k") {
    return obey(() => {
      app.set({ isSidebarOpen: true });
      requestAnimationFrame(() => focus(".search input"));
    });
  }
  if (event.altKey && event.code === "KeyN") {
    return obey(() => newChat(app, root));
  }
  if (event.key === "Escape") {
    const open = closeOne(app);
    if (open) return obey(open);
    return undefined;
  }
  if (isTyping || command || event.altKey) return undefined;
  const message = focused?.closest?.("[data-message]");
  if (event.key === "?") return obey(() => app.set({ isHelpOpen: true }));
  if (event.key === "/") return obey(() => focus(".composer textarea"));
  if (event.key in PANELS && !focused?.closest?.(".answer-tokens")) {
    return obey(() => app.togglePanel(PANELS[event.key]));
  }
  if (event.key === "j" || event.key === "k") {
    return obey(() => move(root, message, event.key === "j" ? 1 : -1));
  }
  if (message && focused === message) return onMessage(app, message, event, obey);
  return undefined;
}

export function newChat(app, root) {
  app.set({ isSidebarOpen: false, isRacing: false });
  app.conversation.begin();
  requestAnimationFrame(() => root.querySelector(".composer textarea")?.focus());
}

/** What Escape would close or stop, the topmost first. */
function closeOne(app) {
  if (app.isHelpOpen || app.keyDialog) return null; // the dialog closes itself
  if (app.conversation.editing) return () => app.conversation.setEditing(null);
  if (app.isRacing && app.race.isRunning) return () => app.race.stop();
  if (app.conversation.live) return () => app.conversation.stop();
  if (app.isSidebarOpen) return () => app.set({ isSidebarOpen: false });
  if (app.sessions.query) return () => app.sessions.search("");
  if (app.panel) return () => app.set({ panel: null });
  return null;
}

function move(root, from, step) {
  const all = [...root.querySelectorAll("[data-message]")];
  const at = from ? all.indexOf(from) + step : all.length - 1;
  const next = all[Math.max(0, Math.min(all.length - 1, at))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

/** Single keys do what the message's own buttons do. */
function onMessage(app, element, event, obey) {
  const press = (action) => {
    const button = element.querySelector(`[data-action="${action}"]`);
    if (button && !button.disabled) obey(() => button.click());
  };
  const actions = {
    ArrowLeft: "previous", ArrowRight: "next", c: "copy", e: "edit", r: "regenerate", g: "continue",
    Delete: "delete",
  };
  if (event.key in actions) press(actions[event.key]);
}
