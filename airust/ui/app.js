// What the panel knows, and what can be done with it. The views show it and call it.
//
// conversation.js has what one does with messages, sessions.js with whole conversations.

import { Client } from "./client.js";
import { Conversation } from "./conversation.js";
import { describe } from "./failures.js";
import { frameBatcher } from "./frames.js";
import { chooseLanguage, translator } from "./i18n.js";
import { Inspector } from "./inspector.js";
import { browserStorage, DEFAULT_PARAMS, Prefs } from "./prefs.js";
import { Race } from "./race.js";
import { Sessions } from "./sessions.js";

const TOAST_MS = 8000;

export class App {
  constructor(transport, options = {}) {
    this.options = options;
    this.transport = transport;
    this.prefs = new Prefs(options.storage === undefined ? browserStorage() : options.storage);
    this.language = chooseLanguage(options.language ?? this.prefs.get("language", null));
    this.theme = options.theme ?? this.prefs.get("theme", "system");
    this.t = translator(this.language);
    this.params = { ...DEFAULT_PARAMS, ...this.prefs.get("params", {}) };
    this.ownPresets = this.prefs.get("presets", {});
    this.models = [];
    this.modelId = this.prefs.get("model", null);
    this.line = "connecting";
    this.keyDialog = null; // why a key is asked for
    this.isSidebarOpen = false; // on phones; elsewhere it is always there
    this.panel = null; // settings, tokens, tree or context
    this.isRacing = false;
    this.isHelpOpen = false;
    this.toasts = [];
    this.notice = null; // a failure, with what to do next
    this.spoken = ""; // for screen readers
    this.listeners = new Set();
    this.frames = frameBatcher(() => this.listeners.forEach((listener) => listener()));
    this.client = new Client(transport, {
      onState: (line, error) => this.lineChanged(line, error),
      onEvent: (event) => this.heard(event),
      onOnline: () => this.conversation.resume(),
    });
    this.sessions = new Sessions(this);
    this.conversation = new Conversation(this);
    this.inspector = new Inspector(this);
    this.race = new Race(this);
  }

  /** Call back in the next frame after something has changed. */
  onChange(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  changed() {
    this.frames.request();
  }

  /** Set some fields and show it. */
  set(values) {
    Object.assign(this, values);
    this.changed();
  }

  start() {
    this.client.connect();
    this.load();
  }

  /** `loading` is the promise that the models and the last conversation are there. */
  load() {
    this.loading = this.fetchAll();
  }

  async fetchAll() {
    await this.attempt(async () => {
      this.models = (await this.client.get("/v1/models")).data;
      await this.sessions.refresh();
      const wanted = this.options.sessionId;
      const last = this.prefs.get("session", null);
      const known = this.sessions.list.some((session) => session.id === last) ? last : null;
      const first = wanted === undefined ? (known ?? this.sessions.list[0]?.id) : wanted;
      if (first && !this.conversation.id) await this.conversation.open(first);
    });
    this.isLoaded = true;
    this.changed();
  }

  /** The chosen model; the first one where the chosen one is gone. */
  get model() {
    return this.models.find((model) => model.id === this.modelId) ?? this.models[0] ?? null;
  }

  chooseModel(id) {
    this.prefs.set("model", id);
    this.set({ modelId: id });
    this.conversation.refreshContext();
  }

  setParams(values) {
    this.params = { ...this.params, ...values };
    this.prefs.set("params", this.params);
    this.changed();
    if ("max_output_tokens" in values) this.conversation.refreshContext();
  }

  savePreset(name, values) {
    this.ownPresets = { ...this.ownPresets, [name]: values };
    if (values === null) delete this.ownPresets[name];
    this.prefs.set("presets", this.ownPresets);
    this.changed();
  }

  setTheme(theme) {
    this.prefs.set("theme", theme);
    this.set({ theme });
  }

  setLanguage(language) {
    this.prefs.set("language", language);
    this.set({ language, t: translator(language) });
  }

  togglePanel(name) {
    const closes = this.panel === name && !this.isRacing;
    if (this.isRacing) this.toggleRace();
    this.set({ panel: closes ? null : name });
    if (this.panel === "tokens") this.inspector.setActive(true);
    if (this.panel === "context") this.conversation.refreshContext();
  }

  toggleRace() {
    this.conversation.target = { id: null }; // where one was before is forgotten meanwhile
    this.set({ isRacing: !this.isRacing });
  }

  lineChanged(line, error) {
    if (line === "online" && this.hasBeenOnline && this.line !== "online" && this.wasLost) {
      this.toast(this.t("back"));
    }
    if (line === "online") {
      this.hasBeenOnline = true;
      this.wasLost = false;
      if (this.notice?.code === "unreachable") this.notice = null;
      if (this.isLoaded && this.models.length === 0) this.load();
    } else if (this.line !== "online" && line === "connecting") {
      this.wasLost = true;
    }
    if (line === "refused") {
      if (error.code === "invalid_api_key") this.askForKey();
      else this.fail(error, null, this.t("originRefused"));
    }
    this.set({ line });
  }

  askForKey() {
    const hadOne = this.triedKey === true;
    this.set({ keyDialog: this.t(hadOne ? "keyRefused" : "keyNeeded") });
  }

  useKey(key) {
    this.triedKey = true;
    this.transport.setKey?.(key.trim());
    this.set({ keyDialog: null, notice: null });
    this.client.retry();
    this.load();
  }

  heard(event) {
    if (event.type === "session.changed") {
      this.sessions.heard(event);
      this.conversation.heardChange(event);
    } else if (event.response_id) {
      this.conversation.heard(event);
      this.race.heard(event);
    }
  }

  /** Do something that may fail; failures are shown. Returns undefined then. */
  async attempt(work, again = null) {
    try {
      return await work();
    } catch (error) {
      this.fail(error, again);
      return undefined;
    }
  }

  /** Show a failure, with `again` as the next step if there is one. */
  fail(error, again = null, title = null) {
    if (error.code === "invalid_api_key" && this.transport.setKey) {
      this.askForKey();
      return;
    }
    if (error.code === undefined) console.error(error);
    const notice = describe(error, this.t);
    this.set({ notice: { ...notice, title: title ?? notice.title, again } });
  }

  /** Say something for a while; `undo` is offered with it. */
  toast(text, undo = null) {
    const toast = { id: (this.lastToast = (this.lastToast ?? 0) + 1), text, undo };
    this.set({ toasts: [...this.toasts.slice(-2), toast] });
    this.say(text);
    setTimeout(() => this.dropToast(toast.id), TOAST_MS);
  }

  dropToast(id) {
    this.set({ toasts: this.toasts.filter((toast) => toast.id !== id) });
  }

  /** For screen readers. */
  say(text) {
    this.set({ spoken: text });
  }

  emit(name, detail) {
    this.options.onEvent?.(name, detail);
  }

  close() {
    this.frames.close();
    this.client.close();
  }
}
