// System prompt, sampling, and how the panel looks.

import { html, useEffect, useRef, useState } from "../vendor/preact/standalone.module.js";
import { DEFAULT_PARAMS, PRESETS, presetOf, withPreset } from "../prefs.js";
import { grow } from "./composer.js";

const SLIDERS = [
  ["temperature", "temperature", 0, 2, 0.05],
  ["top_p", "topP", 0.05, 1, 0.01],
  ["min_p", "minP", 0, 0.5, 0.01],
  ["repetition_penalty", "repetition", 0.8, 2, 0.05],
];

export function SettingsView({ app }) {
  return html`
    <${SystemPrompt} app=${app} key=${app.conversation.id ?? "new"} />
    <${Sampling} app=${app} />
    <${Appearance} app=${app} />
  `;
}

function SystemPrompt({ app }) {
  const { t, conversation } = app;
  const [text, setText] = useState(conversation.system);
  const field = useRef();
  const saved = useRef(conversation.system);
  useEffect(() => grow(field.current), [text]);
  useEffect(() => {
    // Another tab may have changed it; what is being typed here wins.
    if (saved.current === text && conversation.system !== text) setText(conversation.system);
    saved.current = conversation.system;
  }, [conversation.system]);
  const keep = () => {
    if (text !== conversation.system) conversation.setSystem(text);
    saved.current = text;
  };
  return html`
    <label class="field stacked">
      <span>${t("systemPrompt")}</span>
      <textarea ref=${field} rows="3" value=${text} placeholder=${t("systemHint")}
        onInput=${(event) => setText(event.target.value)} onBlur=${keep}></textarea>
    </label>
  `;
}

function Sampling({ app }) {
  const { t, params, ownPresets } = app;
  const can = app.model?.capabilities ?? {};
  const known = (name) => name === "temperature" || name === "top_p" || can[name] !== false;
  const preset = presetOf(params, ownPresets);
  const choose = (name) => app.setParams(withPreset(params, { ...PRESETS, ...ownPresets }[name]));
  const rests = params.temperature === 0;
  return html`
    <fieldset>
      <legend>${t("sampling")}</legend>
      <label class="field">
        <span>${t("preset")}</span>
        <select value=${preset} onChange=${(event) => event.target.value !== "custom" && choose(event.target.value)}>
          ${Object.keys(PRESETS).map((name) => html`<option key=${name} value=${name} selected=${name === preset}>${t(name)}</option>`)}
          ${Object.keys(ownPresets).map((name) => html`<option key=${name} value=${name} selected=${name === preset}>${name}</option>`)}
          ${preset === "custom" && html`<option value="custom" selected>${t("custom")}</option>`}
        </select>
      </label>
      <${OwnPresets} app=${app} preset=${preset} />
      ${SLIDERS.map(([name, word, min, max, step]) => html`
        <${Slider} key=${name} label=${t(word)} value=${params[name]} min=${min} max=${max} step=${step}
          disabled=${!known(name) || (rests && name !== "temperature" && name !== "repetition_penalty")}
          hint=${known(name) ? "" : t("notHere")} onChange=${(value) => app.setParams({ [name]: value })} />`)}
      <${NumberField} label=${t("topK")} value=${params.top_k} min="0" disabled=${!can.top_k || rests}
        onChange=${(value) => app.setParams({ top_k: value ?? 0 })} />
      ${rests && html`<p class="hint">${t("greedyHint")}</p>`}
      <${NumberField} label=${t("maxTokens")} value=${params.max_output_tokens} min="1"
        onChange=${(value) => app.setParams({ max_output_tokens: value ?? DEFAULT_PARAMS.max_output_tokens })} />
      <${NumberField} label=${t("seed")} value=${params.seed} placeholder=${t("seedHint")} disabled=${!can.seed || rests}
        onChange=${(value) => app.setParams({ seed: value })} />
      <${StopTexts} app=${app} />
    </fieldset>
  `;
}

function OwnPresets({ app, preset }) {
  const { t, params, ownPresets } = app;
  const [name, setName] = useState("");
  if (preset in ownPresets) {
    return html`<button type="button" class="quiet" onClick=${() => app.savePreset(preset, null)}>${t("deletePreset")}</button>`;
  }
  if (preset !== "custom") return null;
  const save = (event) => {
    event.preventDefault();
    const clean = name.trim();
    if (!clean || clean in PRESETS || clean === "custom") return;
    const { max_output_tokens: _, seed: __, stop: ___, ...values } = params;
    app.savePreset(clean, values);
    setName("");
  };
  return html`
    <form class="inline" onSubmit=${save}>
      <input aria-label=${t("presetName")} placeholder=${t("presetName")} value=${name} maxlength="40"
        onInput=${(event) => setName(event.target.value)} />
      <button type="submit" disabled=${!name.trim()}>${t("savePreset")}</button>
    </form>
  `;
}

function Slider({ label, value, min, max, step, disabled, hint, onChange }) {
  const take = (event) => onChange(Number(event.target.value));
  return html`
    <div class="slider" title=${hint}>
      <label>
        <span>${label}</span>
        <input type="range" min=${min} max=${max} step=${step} value=${value} disabled=${disabled} onInput=${take} />
      </label>
      <output>${value}</output>
    </div>
  `;
}

/** A field whose text is its own while one types: the panel may be drawn at any moment. */
function useText(value) {
  const [text, setText] = useState(null);
  return { text: text ?? value, setText, settle: () => setText(null) };
}

function NumberField({ label, value, onChange, ...rest }) {
  const { text, setText, settle } = useText(String(value ?? ""));
  const take = (event) => {
    const typed = event.target.value;
    setText(typed);
    const number = Number(typed);
    if (typed === "" || !Number.isInteger(number)) onChange(null);
    else if (event.target.validity.valid) onChange(number);
  };
  return html`
    <label class="field">
      <span>${label}</span>
      <input type="number" step="1" value=${text} onInput=${take} onBlur=${settle} ...${rest} />
    </label>
  `;
}

function StopTexts({ app }) {
  const { t, params } = app;
  const { text, setText, settle } = useText(params.stop.join("\n"));
  const take = (event) => {
    setText(event.target.value);
    app.setParams({ stop: event.target.value.split("\n").filter(Boolean).slice(0, 16) });
  };
  return html`
    <label class="field stacked">
      <span>${t("stopTexts")}</span>
      <textarea rows="2" value=${text} onInput=${take} onBlur=${settle}></textarea>
    </label>
  `;
}

function Appearance({ app }) {
  const { t } = app;
  return html`
    <fieldset>
      <legend>${t("appearance")}</legend>
      <label class="field">
        <span>${t("theme")}</span>
        <select value=${app.theme} onChange=${(event) => app.setTheme(event.target.value)}>
          ${["system", "light", "dark"].map((theme) => html`<option key=${theme} value=${theme} selected=${theme === app.theme}>${t(theme)}</option>`)}
        </select>
      </label>
      <label class="field">
        <span>${t("language")}</span>
        <select value=${app.language} onChange=${(event) => app.setLanguage(event.target.value)}>
          <option value="en" selected=${app.language === "en"}>English</option>
          <option value="zh" selected=${app.language === "zh"}>中文</option>
        </select>
      </label>
      ${app.transport.setKey &&
      html`<button type="button" class="quiet" onClick=${() => app.set({ keyDialog: t("apiKey") })}>${t("changeKey")}</button>`}
    </fieldset>
  `;
}
