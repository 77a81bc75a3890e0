// Where one writes. What is typed is kept until the service has it.

import { html, useEffect, useRef, useState } from "../vendor/preact/standalone.module.js";
import { Icon } from "./icons.js";

export function Composer({ app }) {
  const { t, conversation } = app;
  const draft = () => `draft.${conversation.id ?? "new"}`;
  const [text, setText] = useState(() => app.prefs.get(draft(), ""));
  const field = useRef();
  const isWaiting = useRef(false); // for what is being loaded, to ask then
  const write = (value) => {
    setText(value);
    app.prefs.set(draft(), value);
  };
  useEffect(() => grow(field.current), [text]);
  useEffect(() => {
    const observer = new ResizeObserver(() => grow(field.current)); // lines break elsewhere
    observer.observe(field.current.form);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    // A phone's keyboard would cover what one wants to read.
    if (app.options.isPage && matchMedia("(hover: hover)").matches) field.current.focus();
  }, []);

  const send = async () => {
    const question = text.trim();
    if (!question || conversation.isBusy || isWaiting.current) return;
    setText("");
    isWaiting.current = true;
    await app.loading; // it belongs to the conversation that is just being opened
    isWaiting.current = false;
    const { visit } = conversation;
    const from = draft();
    const accepted = await conversation.ask(question);
    if (accepted) {
      app.prefs.set(from, "");
      return;
    }
    // A conversation may have been begun for it, and one may be elsewhere by now.
    const place = conversation.visit === visit ? draft() : from;
    if (place !== from) app.prefs.set(from, "");
    app.prefs.set(place, question);
    setText((now) => (now ? `${question}\n${now}` : question));
  };
  const onKey = (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    }
    if (event.key === "ArrowUp" && text === "") {
      const last = conversation.path.filter((message) => message.role === "user").at(-1);
      if (last) {
        event.preventDefault();
        conversation.setEditing(last.id);
      }
    }
  };
  return html`
    <form class="composer" onSubmit=${(event) => (event.preventDefault(), send())}>
      <textarea rows="1" ref=${field} value=${text} aria-label=${t("message")} placeholder=${t("messageHint")}
        title=${t("sendHint")} onInput=${(event) => write(event.target.value)} onKeyDown=${onKey}></textarea>
      <div class="composer-foot">
        <${Meter} app=${app} />
        <span class="gap"></span>
        ${conversation.isBusy
          ? html`<button type="button" class="send stop" aria-label=${t("stop")} title=${`${t("stop")} (Esc)`}
              onClick=${() => conversation.stop()}><span class="stop-mark" aria-hidden="true"></span></button>`
          : html`<button type="submit" class="send" aria-label=${t("send")} title=${t("send")} disabled=${!text.trim()}>
              <${Icon} name="send" /></button>`}
      </div>
    </form>
  `;
}

/** How full the model's context is. */
function Meter({ app }) {
  const { t, conversation } = app;
  const { use } = conversation;
  if (!use || use.prompt_tokens === null) return html`<span class="meter"></span>`;
  const used = use.prompt_tokens;
  const max = use.max_model_len;
  const words = max ? t("contextUsed", { used, max }) : t("contextOpen", { used });
  return html`
    <button type="button" class="meter" title=${t("context")} aria-label=${`${t("context")}: ${words}`}
      onClick=${() => app.togglePanel("context")}>
      ${max && html`<span class="meter-bar" aria-hidden="true"><i style=${{ width: `${Math.min(100, (100 * used) / max)}%` }}></i></span>`}
      <span>${words}</span>
    </button>
  `;
}

/** As high as its text, up to what its style allows. */
export function grow(field) {
  field.style.height = "auto";
  const border = field.offsetHeight - field.clientHeight;
  field.style.height = `${field.scrollHeight + border}px`;
}
