// The list of conversations.

import { html, useRef } from "../vendor/preact/standalone.module.js";
import { newChat } from "../shortcuts.js";
import { Icon, IconButton } from "./icons.js";

export function Sidebar({ app }) {
  const { t, sessions } = app;
  const file = useRef();
  const place = useRef();
  const root = () => place.current.closest(".panel");
  const chosen = (event) => {
    const [given] = event.target.files;
    if (given) sessions.importFile(given);
    event.target.value = "";
  };
  return html`
    <aside class="sidebar" ref=${place} aria-label=${t("chats")}>
      <div class="brand">
        <span class="mark" aria-hidden="true">A</span>
        <span>airust</span>
        <${IconButton} name="close" class="only-narrow" label=${t("closeMenu")}
          onClick=${() => app.set({ isSidebarOpen: false })} />
      </div>
      <button type="button" class="new-chat" onClick=${() => newChat(app, root())}>
        <${Icon} name="plus" />${t("newChat")}
      </button>
      <div class="search">
        <${Icon} name="search" />
        <input type="search" aria-label=${t("search")} placeholder=${t("search")} value=${sessions.query}
          onInput=${(event) => sessions.search(event.target.value)} />
      </div>
      ${sessions.hits === null ? html`<${List} app=${app} />` : html`<${Hits} app=${app} />`}
      <div class="sidebar-foot">
        <${IconButton} name="upload" label=${t("importFile")} onClick=${() => file.current.click()} />
        <${IconButton} name="download" label=${t("exportAll")} onClick=${() => sessions.exportAll()} />
        <span class="gap"></span>
        <${IconButton} name="keyboard" label=${t("shortcuts")} onClick=${() => app.set({ isHelpOpen: true })} />
        <input type="file" class="unseen" tabindex="-1" aria-label=${t("importFile")}
          accept=".json,application/json" ref=${file} onChange=${chosen} />
      </div>
    </aside>
  `;
}

function List({ app }) {
  const { list } = app.sessions;
  if (list.length === 0) return html`<p class="empty">${app.t("noChats")}</p>`;
  return html`
    <ul class="sessions">
      ${list.map((session) => html`<${Row} key=${session.id} app=${app} session=${session} />`)}
    </ul>
  `;
}

function Row({ app, session }) {
  const { t, sessions, conversation } = app;
  const isOpen = session.id === conversation.id;
  if (sessions.renaming === session.id) return html`<${Rename} app=${app} session=${session} />`;
  return html`
    <li class=${isOpen ? "session open" : "session"}>
      <button type="button" class="title" aria-current=${isOpen ? "true" : null}
        title=${session.title} onClick=${() => conversation.open(session.id)}
        onDblClick=${() => start(app, session.id)}>
        ${session.title}
        ${sessions.running.has(session.id) &&
        html`<span class="running" role="img" aria-label=${t("sessionRunning")}></span>`}
      </button>
      <span class="row-actions">
        <${IconButton} name="edit" label=${`${t("rename")}: ${session.title}`} onClick=${() => start(app, session.id)} />
        <details class="menu" onToggle=${closeElsewhere}>
          <summary aria-label=${`${t("export")}: ${session.title}`} title=${t("export")}><${Icon} name="download" /></summary>
          <div class="menu-items">
            <button type="button" onClick=${(e) => close(e, () => sessions.exportOne(session.id, "markdown"))}>${t("exportMarkdown")}</button>
            <button type="button" onClick=${(e) => close(e, () => sessions.exportOne(session.id, "json"))}>${t("exportJson")}</button>
          </div>
        </details>
        <${IconButton} name="trash" label=${`${t("delete")}: ${session.title}`} onClick=${() => sessions.remove(session.id)} />
      </span>
    </li>
  `;
}

function start(app, id) {
  app.sessions.renaming = id;
  app.changed();
}

function close(event, work) {
  event.target.closest("details").open = false;
  work();
}

/** An open menu closes when the focus goes elsewhere. */
function closeElsewhere(event) {
  const menu = event.currentTarget;
  if (!menu.open) return;
  const leave = (out) => {
    if (menu.contains(out.relatedTarget)) return;
    menu.open = false;
    menu.removeEventListener("focusout", leave);
  };
  menu.addEventListener("focusout", leave);
}

function Rename({ app, session }) {
  const { t, sessions } = app;
  const begun = useRef(false);
  // The text is the field's own from here on: the list may be drawn again while one types.
  const focus = (field) => {
    if (!field || begun.current) return;
    begun.current = true;
    field.value = session.title;
    field.focus();
    field.select();
  };
  const onKey = (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") sessions.rename(session.id, event.target.value);
    if (event.key === "Escape") {
      event.stopPropagation();
      sessions.rename(session.id, "");
    }
  };
  return html`
    <li class="session open">
      <input class="rename" aria-label=${t("rename")} maxlength="500" ref=${focus} onKeyDown=${onKey}
        onBlur=${(event) => sessions.renaming && sessions.rename(session.id, event.target.value)} />
    </li>
  `;
}

function Hits({ app }) {
  const { t, sessions, conversation } = app;
  if (sessions.hits.length === 0) return html`<p class="empty">${t("noMatch")}</p>`;
  return html`
    <ul class="sessions hits">
      ${sessions.hits.map((hit) => html`
        <li class="session" key=${hit.message_id}>
          <button type="button" class="hit" onClick=${() => conversation.open(hit.session_id, hit.message_id)}>
            <strong>${hit.title}</strong>
            <span><${Excerpt} text=${hit.excerpt} query=${sessions.query} /></span>
          </button>
        </li>`)}
    </ul>
  `;
}

function Excerpt({ text, query }) {
  const word = query.trim().split(/\s+/)[0] ?? "";
  const at = text.toLowerCase().indexOf(word.toLowerCase());
  if (!word || at < 0) return text;
  return html`${text.slice(0, at)}<mark>${text.slice(at, at + word.length)}</mark>${text.slice(at + word.length)}`;
}
