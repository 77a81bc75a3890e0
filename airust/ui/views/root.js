// The whole panel: list of chats, conversation or race, side panel, and what lies over them.

import { html, useEffect, useRef } from "../vendor/preact/standalone.module.js";
import { onShortcut } from "../shortcuts.js";
import { Composer } from "./composer.js";
import { Help, KeyDialog, Notice, Toasts } from "./over.js";
import { RaceView } from "./race.js";
import { SidePanel } from "./panel.js";
import { Sidebar } from "./sidebar.js";
import { Thread } from "./thread.js";
import { TopBar } from "./topbar.js";

export function Root({ app }) {
  const place = useRef();
  useEffect(() => {
    // On a page of its own the panel has the keyboard; in a notebook only while it has the focus.
    const target = app.options.isPage ? window : place.current;
    const listen = (event) => onShortcut(app, place.current, event);
    target.addEventListener("keydown", listen);
    return () => target.removeEventListener("keydown", listen);
  }, []);
  useEffect(() => {
    if (app.options.isPage) {
      const { title } = app.conversation;
      document.title = title ? `${title} · airust` : "airust";
      document.documentElement.lang = app.language;
    }
  });
  const withSidebar = app.options.sidebar !== false;
  const layout = [
    "panel",
    withSidebar ? "with-sidebar" : "",
    app.isSidebarOpen ? "sidebar-open" : "",
    app.panel && !app.isRacing ? `side-open side-${app.panel}` : "",
  ].join(" ");
  return html`
    <div
      class=${layout}
      data-theme=${app.theme}
      lang=${app.language}
      ref=${place}
      data-line=${app.line}
    >
      ${withSidebar && html`<${Sidebar} app=${app} />`}
      ${app.isSidebarOpen &&
      html`<div class="veil" onClick=${() => app.set({ isSidebarOpen: false })}></div>`}
      <main class="main" aria-busy=${!app.isLoaded} aria-label=${app.conversation.title || app.t("newChat")}>
        <${TopBar} app=${app} withSidebar=${withSidebar} />
        ${app.isRacing
          ? html`<${RaceView} app=${app} />`
          : html`
              <${Thread} app=${app} />
              <div class="foot">
                <${Notice} app=${app} />
                <${Composer} app=${app} key=${app.conversation.begun} />
              </div>
            `}
      </main>
      ${app.panel && !app.isRacing && html`<${SidePanel} app=${app} />`}
      <${Toasts} app=${app} />
      ${app.isHelpOpen && html`<${Help} app=${app} />`}
      ${app.keyDialog && html`<${KeyDialog} app=${app} />`}
      <div class="unseen" role="status" aria-live="polite">${app.spoken}</div>
    </div>
  `;
}
