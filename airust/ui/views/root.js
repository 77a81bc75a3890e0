// The whole panel.

import { html, useEffect, useRef } from "../vendor/preact/standalone.module.js";
import { showMarkdown } from "../markdown.js";

const LABELS = { copy: "Copy", task: "task" };

function Markdown({ text }) {
  const place = useRef();
  useEffect(() => showMarkdown(place.current, text, LABELS), [text]);
  return html`<div class="markdown" ref=${place}></div>`;
}

export function Root({ app }) {
  const { live } = app.state;
  const field = useRef();
  const send = (event) => {
    event.preventDefault();
    app.ask(field.current.value);
    field.current.value = "";
  };
  return html`
    <div class="panel">
      <main>
        ${app.path().map((m) => html`<article key=${m.id} class=${m.role}><${Markdown} text=${m.content} /></article>`)}
        ${live && html`<article class="user"><${Markdown} text=${live.question} /></article>`}
        ${live && html`<article class="assistant"><${Markdown} text=${live.text} /></article>`}
      </main>
      <form onSubmit=${send}>
        <textarea ref=${field} aria-label="Message"></textarea>
        <button type="submit">Send</button>
        ${live && html`<button type="button" onClick=${() => app.stop()}>Stop</button>`}
      </form>
    </div>
  `;
}
