// What lies over the panel: failures, short messages, the list of shortcuts, the question for a key.

import { html, useEffect, useRef } from "../vendor/preact/standalone.module.js";
import { SHORTCUTS } from "../shortcuts.js";
import { Icon, IconButton } from "./icons.js";

/** A failure with its next step, and the lost connection. */
export function Notice({ app }) {
  const { t, notice, line } = app;
  if (line === "connecting" && app.wasLost) {
    return html`
      <div class="notice" role="alert">
        <${Icon} name="alert" />
        <p><strong>${t("offline")}</strong> ${t("reconnecting")}</p>
        <button type="button" onClick=${() => app.client.retry()}>${t("retryNow")}</button>
      </div>
    `;
  }
  if (!notice) return null;
  const again = () => {
    app.set({ notice: null });
    notice.again();
  };
  return html`
    <div class="notice" role="alert" data-code=${notice.code}>
      <${Icon} name="alert" />
      <p><strong>${notice.title}</strong> ${notice.text}</p>
      ${notice.again && html`<button type="button" onClick=${again}>${t("tryAgain")}</button>`}
      <${IconButton} name="close" label=${t("dismiss")} onClick=${() => app.set({ notice: null })} />
    </div>
  `;
}

export function Toasts({ app }) {
  const { t } = app;
  const undo = (toast) => {
    app.dropToast(toast.id);
    toast.undo();
  };
  return html`
    <div class="toasts">
      ${app.toasts.map((toast) => html`
        <div class="toast" key=${toast.id}>
          <span>${toast.text}</span>
          ${toast.undo && html`<button type="button" onClick=${() => undo(toast)}>${t("undo")}</button>`}
          <${IconButton} name="close" label=${t("dismiss")} onClick=${() => app.dropToast(toast.id)} />
        </div>`)}
    </div>
  `;
}

/** A modal dialog of the browser: it keeps the focus and gives it back. */
function Dialog({ label, onClose, children }) {
  const place = useRef();
  useEffect(() => {
    place.current.showModal();
  }, []);
  return html`<dialog ref=${place} aria-label=${label} onClose=${onClose}>${children}</dialog>`;
}

export function Help({ app }) {
  const { t } = app;
  const close = () => app.set({ isHelpOpen: false });
  return html`
    <${Dialog} label=${t("shortcuts")} onClose=${close}>
      <div class="dialog-head">
        <h2>${t("shortcuts")}</h2>
        <${IconButton} name="close" label=${t("close")} onClick=${close} />
      </div>
      <dl class="shortcuts">
        ${SHORTCUTS.map(([keys, name]) => html`
          <div key=${name}>
            <dt>${keys.split(/\s{2}/).map((key) => html`<kbd>${key}</kbd> `)}</dt>
            <dd>${t(name)}</dd>
          </div>`)}
      </dl>
    <//>
  `;
}

export function KeyDialog({ app }) {
  const { t } = app;
  const field = useRef();
  const send = (event) => {
    event.preventDefault();
    if (field.current.value.trim()) app.useKey(field.current.value);
  };
  return html`
    <${Dialog} label=${t("apiKey")} onClose=${() => app.set({ keyDialog: null })}>
      <form class="key-form" onSubmit=${send}>
        <h2>${app.keyDialog}</h2>
        <p>${t("keyHint")}</p>
        <label>${t("keyField")}<input type="password" autocomplete="off" autofocus ref=${field} /></label>
        <div class="form-actions">
          <button type="button" onClick=${() => app.set({ keyDialog: null })}>${t("cancel")}</button>
          <button type="submit" class="primary">${t("useKey")}</button>
        </div>
      </form>
    <//>
  `;
}
