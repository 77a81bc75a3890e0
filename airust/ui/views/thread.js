// The branch that is shown, from its beginning; it stays at its end while an answer comes in.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact/standalone.module.js";
import { pathTo, siblingsOf } from "../tree.js";
import { copyText } from "./clipboard.js";
import { Icon } from "./icons.js";
import { Message } from "./message.js";

const NEAR_END = 80; // pixels; whoever is nearer follows the answer

export function Thread({ app }) {
  const { t, conversation } = app;
  const { tree, pending, live } = conversation;
  const path = pending ? pathTo(tree, pending.parent_id) : conversation.path;
  const place = useRef();
  const follows = useRef(true);
  const [isAway, setAway] = useState(false);

  const toEnd = () => {
    const node = place.current;
    node.scrollTop = node.scrollHeight;
  };
  const onScroll = () => {
    const node = place.current;
    follows.current = node.scrollHeight - node.scrollTop - node.clientHeight < NEAR_END;
    setAway(!follows.current);
  };
  useEffect(() => live?.onChange(() => follows.current && toEnd()), [live]);
  useLayoutEffect(() => {
    const { target } = conversation;
    if (target === null) return;
    conversation.target = null;
    if (target.id === null) {
      follows.current = true;
      toEnd();
      requestAnimationFrame(() => place.current && toEnd()); // after formulas and code have their size
    } else {
      follows.current = false;
      const found = place.current.querySelector(`[data-message="${target.id}"]`);
      found?.scrollIntoView({ block: "center" });
      found?.focus({ preventScroll: true });
      found?.classList.add("found");
    }
  });
  useLayoutEffect(() => {
    if (pending) {
      follows.current = true;
      toEnd();
    }
  }, [pending]);
  const onClick = (event) => {
    const button = event.target.closest(".copy-code");
    if (!button) return;
    const code = button.closest(".code").querySelector("code").textContent;
    copyText(app, code.replace(/\n$/, ""));
    button.textContent = t("copied");
    setTimeout(() => (button.textContent = t("copy")), 1500);
  };

  if (path.length === 0 && !pending) return html`<${Welcome} app=${app} placeRef=${place} />`;
  return html`
    <div class="thread-frame">
      <div class="thread" ref=${place} onScroll=${onScroll} onClick=${onClick} tabindex="-1">
        <ol class="messages">
          ${path.map((message, i) => {
            const { index, ids } = siblingsOf(tree, message.id);
            return html`<${Message}
              key=${message.id}
              app=${app}
              message=${message}
              live=${message.live ?? null}
              index=${index}
              count=${ids.length}
              isLast=${i === path.length - 1 && !pending}
              isEditing=${conversation.editing === message.id}
              isBusy=${conversation.isBusy}
              isInspected=${app.inspector.isActive && message.role === "assistant"}
              tokens=${app.inspector.found.get(message.id)}
              by=${app.inspector.by}
              chosen=${app.inspector.chosen?.message.id === message.id ? app.inspector.chosen.index : null}
              language=${app.language}
              canContinue=${app.model?.capabilities.token_ids ?? false}
            />`;
          })}
          ${pending &&
          pending.text !== undefined &&
          html`<li class="message user" key="pending"><div class="bubble">${pending.text}</div></li>`}
          ${pending && html`<li class="message assistant" key="waiting"><span class="dots" aria-hidden="true"></span></li>`}
        </ol>
      </div>
      ${isAway &&
      html`<button type="button" class="to-end" aria-label=${t("latest")} title=${t("latest")}
        onClick=${() => { follows.current = true; toEnd(); setAway(false); }}><${Icon} name="down" /></button>`}
    </div>
  `;
}

function Welcome({ app, placeRef }) {
  const { t } = app;
  return html`
    <div class="thread welcome" ref=${placeRef}>
      ${app.isLoaded &&
      html`<h1>${t("welcome")}</h1>
        <p>${t("welcomeHint")}</p>`}
    </div>
  `;
}
