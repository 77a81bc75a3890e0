// Preferences and unsent texts. They stay in the browser.

const PREFIX = "airust.";

/** How an answer is drawn from the model's probabilities; null is the service's own default. */
export const DEFAULT_PARAMS = {
  temperature: 0,
  top_p: 1,
  top_k: 0,
  min_p: 0,
  repetition_penalty: 1,
  max_output_tokens: 256,
  seed: null,
  stop: [],
};

export const PRESETS = {
  greedy: { temperature: 0 },
  precise: { temperature: 0.3, top_p: 0.9 },
  balanced: { temperature: 0.7, top_p: 0.95 },
  creative: { temperature: 1.1, top_p: 0.98, min_p: 0.02 },
};

const DRAWN = ["temperature", "top_p", "top_k", "min_p", "repetition_penalty"];

/** The preset, built in or the user's own, that gives these parameters; "custom" if none does. */
export function presetOf(params, own = {}) {
  for (const [name, values] of Object.entries({ ...PRESETS, ...own })) {
    const preset = { ...DEFAULT_PARAMS, ...values };
    if (DRAWN.every((key) => preset[key] === params[key])) return name;
  }
  return "custom";
}

/** Parameters after a preset was chosen; length, seed and stops stay. */
export function withPreset(params, values) {
  const { max_output_tokens, seed, stop } = params;
  return { ...DEFAULT_PARAMS, ...values, max_output_tokens, seed, stop };
}

/** What goes into a request: nothing that is off, nothing that the engine does not know. */
export function requestParams(params, capabilities = {}) {
  const found = { max_output_tokens: params.max_output_tokens, temperature: params.temperature };
  if (params.temperature > 0) {
    if (params.top_p < 1) found.top_p = params.top_p;
    if (params.top_k > 0 && capabilities.top_k) found.top_k = params.top_k;
    if (params.min_p > 0 && capabilities.min_p) found.min_p = params.min_p;
    if (params.seed !== null && capabilities.seed) found.seed = params.seed;
  }
  if (params.repetition_penalty !== 1 && capabilities.repetition_penalty) {
    found.repetition_penalty = params.repetition_penalty;
  }
  if (params.stop.length > 0) found.stop = params.stop;
  return found;
}

/** Values under names in a storage that may be absent, full or forbidden. */
export class Prefs {
  constructor(storage) {
    this.storage = storage;
    this.memory = new Map();
  }

  get(name, otherwise) {
    if (this.memory.has(name)) return this.memory.get(name);
    try {
      const text = this.storage?.getItem(PREFIX + name);
      return text === null || text === undefined ? otherwise : JSON.parse(text);
    } catch {
      return otherwise;
    }
  }

  set(name, value) {
    this.memory.set(name, value);
    try {
      if (value === null || value === "") this.storage?.removeItem?.(PREFIX + name);
      else this.storage?.setItem(PREFIX + name, JSON.stringify(value));
    } catch {
      // A full or forbidden storage: the value lives as long as the page.
    }
  }
}

export function browserStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
