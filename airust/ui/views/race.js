// Engines side by side on one question.

import { html, useEffect, useReducer, useRef, useState } from "../vendor/preact/standalone.module.js";
import { sharedLength } from "../tokens.js";
import { grow } from "./composer.js";
import { Notice } from "./over.js";
import { copyText } from "./clipboard.js";

export function RaceView({ app }) {
  const { t, race } = app;
  const first = app.conversation.path.filter((message) => message.role === "user").at(-1)?.content ?? "";
  const [text, setText] = useState(race.prompt || first);
  const field = useRef();
  useEffect(() => grow(field.current), [text]);
  const isReady = race.racers.length > 1 && text.trim() && !race.isRunning;
  const run = (event) => {
    event.preventDefault();
    if (isReady) race.run(text.trim());
  };
  return html`
    <section class="race" aria-label=${t("raceTitle")}>
      <form class="race-form" onSubmit=${run}>
        <h1>${t("raceTitle")}</h1>
        <p class="hint">${app.models.length > 1 ? t("raceHint") : t("onlyOne")}</p>
        <fieldset class="racers">
          <legend>${t("racers")}</legend>
          ${app.models.map((model) => html`
            <label class="check" key=${model.id}>
              <input type="checkbox" checked=${race.racers.includes(model.id)} disabled=${race.isRunning} onChange=${() => race.toggle(model.id)} />
              ${model.id}${!model.id.includes(model.engine) && html` <small>${model.engine}</small>`}
            </label>`)}
        </fieldset>
        <textarea ref=${field} rows="1" aria-label=${t("racePrompt")} placeholder=${t("racePrompt")} value=${text}
          onInput=${(event) => setText(event.target.value)}
          onKeyDown=${(event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && run(event)}></textarea>
        <div class="race-options">
          <label class="field"><span>${t("raceOrder")}</span>
            <select value=${race.inTurn ? "turn" : "once"} disabled=${race.isRunning} onChange=${(event) => race.set({ inTurn: event.target.value === "turn" })}>
              <option value="once" selected=${!race.inTurn}>${t("together")}</option>
              <option value="turn" selected=${race.inTurn}>${t("inTurn")}</option>
            </select>
          </label>
          ${app.conversation.path.length > 0 &&
          html`<label class="check"><input type="checkbox" checked=${race.withHistory} disabled=${race.isRunning}
            onChange=${(event) => race.set({ withHistory: event.target.checked })} />${t("withHistory")}</label>`}
          <span class="gap"></span>
          ${race.isRunning
            ? html`<button type="button" onClick=${() => race.stop()}>${t("stop")}</button>`
            : html`<button type="submit" class="primary" disabled=${!isReady}>${t("runRace")}</button>`}
        </div>
        ${race.racers.length < 2 && app.models.length > 1 && html`<p class="hint">${t("needTwo")}</p>`}
      </form>
      <${Notice} app=${app} />
      ${race.runners.length > 0 && html`<${Track} app=${app} key=${race.runners} />`}
    </section>
  `;
}

/** Drawn a frame at a time while answers come in. */
function Track({ app }) {
  const { t, race } = app;
  const [, draw] = useReducer((n) => n + 1, 0);
  const lives = race.runners.map((runner) => runner.live);
  useEffect(() => {
    const forget = lives.filter(Boolean).map((live) => live.onChange(draw));
    return () => forget.forEach((stop) => stop());
  }, lives);
  const at = race.difference;
  const verdict = race.answers().length < 2 ? "" : race.summary();
  const shared = sharedLength(race.answers().map((answer) => answer.text));
  return html`
    <p class=${`verdict ${at === null ? "agree" : "differ"}`}>${verdict}
      ${!race.isRunning && html` <button type="button" class="quiet" onClick=${() => copyText(app, race.csv())}>${t("copyCsv")}</button>`}
    </p>
    <div class="lanes">
      ${race.runners.map((runner) => html`<${Lane} key=${runner.model.id} app=${app} runner=${runner} shared=${shared} differs=${at !== null} />`)}
    </div>
    ${!race.inTurn && html`<p class="hint">${t("raceNote")}</p>`}
  `;
}

function Lane({ app, runner, shared, differs }) {
  const { t, race } = app;
  const { model, live, error } = runner;
  const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const text = live?.text ?? "";
  const width = String.fromCodePoint(text.codePointAt(shared) ?? 32).length;
  const reason = live?.finishReason;
  return html`
    <article class="lane" aria-label=${model.id}>
      <h2>${model.id} ${!model.id.includes(model.engine) && html`<small>${model.engine}</small>`}</h2>
      <dl>
        <div><dt>${t("rate")}</dt><dd>${number(live?.rate, 1)}</dd></div>
        <div><dt>${t("ttft")}</dt><dd>${live?.ttft == null ? "–" : t("ms", { n: (1000 * live.ttft).toFixed(0) })}</dd></div>
        <div><dt>${t("count")}</dt><dd>${live?.count ?? 0}</dd></div>
      </dl>
      <div class="lane-text" tabindex="0">
        ${!live && !error && html`<span class="hint">${t("waiting")}</span>`}
        ${error && html`<p class="lane-error">${error.message || t("offline")}</p>`}
        <span class="same">${text.slice(0, shared)}</span>${differs && shared < text.length
          ? html`<mark>${text.slice(shared, shared + width)}</mark>${text.slice(shared + width)}`
          : text.slice(shared)}
      </div>
      ${live?.ended && !error &&
      html`<div class="form-actions"><small>${{ length: t("wasLength"), cancelled: t("wasStopped") }[reason] ?? ""}</small>
        <button type="button" class="quiet" onClick=${() => race.keep(runner)}>${t("keep")}</button></div>`}
    </article>
  `;
}
