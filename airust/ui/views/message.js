// One message: its text or its tokens, and what one can do with it.

import { Component, html, useEffect, useLayoutEffect, useReducer, useRef, useState } from "../vendor/preact/standalone.module.js";
import { grow } from "./composer.js";
import { IconButton } from "./icons.js";
import { Markdown } from "./markdown.js";
import { copyText } from "./clipboard.js";
import { AnswerTokens } from "./answer-tokens.js";

/** Drawn again only when something about it has changed: there may be a thousand. */
export class Message extends Component {
  shouldComponentUpdate(next) {
    return Object.keys(next).some((name) => next[name] !== this.props[name]);
  }

  render(props) {
    const { app, message, isEditing } = props;
    const { t } = app;
    const name = { user: t("yours"), assistant: t("reply"), system: t("systemMessage") }[message.role];
    return html`
      <li class=${`message ${message.role} ${props.isLast ? "last" : ""}`} data-message=${message.id} tabindex="-1" aria-label=${name}>
        ${message.role !== "user" && html`<${Head} ...${props} />`}
        ${isEditing
          ? html`<${Editor} ...${props} />`
          : html`<div class="bubble">${props.live ? html`<${LiveText} ...${props} />` : html`<${Text} ...${props} />`}</div>
              ${!props.live && html`<${Actions} ...${props} />`}`}
      </li>
    `;
  }
}

function Head({ app, message, live }) {
  const { t } = app;
  const { model, finish_reason: reason, left_out: left } = message.details;
  const end = { cancelled: t("wasStopped"), length: t("wasLength") }[live ? null : reason];
  return html`
    <div class="head">
      <span class="who">${model ?? t(message.role === "system" ? "systemMessage" : "assistant")}</span>
      ${end && html`<span class="end">${end}</span>`}
      ${left > 0 && html`<span class="end" title=${t("leftOut", { n: left })}>${t("left")}: ${left}</span>`}
    </div>
  `;
}

function labelsOf(app) {
  app.labels ??= {};
  app.labels[app.language] ??= { copy: app.t("copy"), task: app.t("task") };
  return app.labels[app.language];
}

function Text({ app, message, isInspected, isLast }) {
  if (isInspected) {
    const tokens = app.inspector.tokensOf(message);
    if (Array.isArray(tokens)) return html`<${AnswerTokens} app=${app} message=${message} tokens=${tokens} />`;
    if (tokens === "asking") {
      return html`<${Markdown} text=${message.content} labels=${labelsOf(app)} now />
        <p class="token-note">${app.t("tokensWait")}</p>`;
    }
  }
  return html`<${Markdown} text=${message.content} labels=${labelsOf(app)} now=${isLast} />`;
}

/** Follows its answer by itself, a frame at a time; nothing else is drawn. */
function LiveText({ app, message, live, isInspected }) {
  const [, draw] = useReducer((n) => n + 1, 0);
  useEffect(() => live.onChange(draw), [live]);
  const known = live.tokens.length > 0 && live.tokens.some((token) => token.logprob !== null);
  if (live.text === "") return html`<span class="dots" aria-hidden="true"></span>`;
  return html`
    <div class="incoming">
      ${isInspected && known
        ? html`<${AnswerTokens} app=${app} message=${message} tokens=${live.tokens} isLive />`
        : html`<${Markdown} text=${live.text} labels=${labelsOf(app)} now />`}
    </div>
    <${Pace} app=${app} live=${live} />
  `;
}

function Pace({ app, live }) {
  const { t } = app;
  const { rate } = live;
  if (rate === null) return null;
  return html`<p class="pace" aria-hidden="true">${t("countIs", { n: live.count })} · ${t("rateIs", { n: rate.toFixed(rate < 10 ? 1 : 0) })}</p>`;
}

function Actions(props) {
  const { app, message, index, count, isBusy, canContinue } = props;
  const { t, conversation } = app;
  const [copied, setCopied] = useState(false);
  const isAnswer = message.role === "assistant";
  const copy = () => {
    copyText(app, message.content);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return html`
    <div class="actions">
      ${count > 1 &&
      html`<span class="branches" role="group" aria-label=${t("branchOf", { n: index + 1, of: count })}>
        <${IconButton} name="left" data-action="previous" label=${t("previousBranch")} disabled=${index === 0}
          onClick=${() => conversation.step(message, -1)} />
        <span>${index + 1}/${count}</span>
        <${IconButton} name="right" data-action="next" label=${t("nextBranch")} disabled=${index === count - 1}
          onClick=${() => conversation.step(message, 1)} />
      </span>`}
      <${IconButton} name=${copied ? "check" : "copy"} data-action="copy" label=${copied ? t("copied") : t("copy")} onClick=${copy} />
      <${IconButton} name="edit" data-action="edit" label=${t("edit")} onClick=${() => conversation.setEditing(message.id)} />
      ${isAnswer &&
      html`<${IconButton} name="again" data-action="regenerate" label=${t("regenerate")} disabled=${isBusy || !message.parent_id}
          onClick=${() => conversation.regenerate(message)} />
        ${canContinue &&
        html`<${IconButton} name="more" data-action="continue" label=${t("continueAnswer")} disabled=${isBusy || !message.parent_id || !message.content}
          onClick=${() => conversation.continueAnswer(message)} />`}`}
      <${IconButton} name="trash" data-action="delete" label=${t("delete")} disabled=${isBusy} onClick=${() => conversation.remove(message)} />
      ${isAnswer && html`<${Cost} app=${app} message=${message} />`}
    </div>
  `;
}

/** Tokens and pace of an answer, from the service's own clock. */
function Cost({ app, message }) {
  const { completion_tokens: count, timings } = message.details;
  if (!count) return null;
  const span = timings ? timings.total_s - timings.ttft_s : 0;
  const rate = span > 0 && count > 1 ? (count - 1) / span : null;
  const parts = [app.t(count === 1 ? "countOne" : "countIs", { n: count })];
  if (rate !== null) parts.push(app.t("rateIs", { n: rate.toFixed(rate < 10 ? 1 : 0) }));
  return html`<span class="cost">${parts.join(" · ")}</span>`;
}

function Editor({ app, message }) {
  const { t, conversation } = app;
  const [text, setText] = useState(message.content);
  const field = useRef();
  const isQuestion = message.role === "user";
  useLayoutEffect(() => {
    field.current.focus();
    field.current.setSelectionRange(text.length, text.length);
  }, []);
  useLayoutEffect(() => grow(field.current), [text]);
  const send = () => {
    if (text.trim()) conversation.edit(message, text.trim(), isQuestion);
  };
  const onKey = (event) => {
    if (event.isComposing || event.key !== "Enter" || event.shiftKey) return;
    if (isQuestion || event.ctrlKey || event.metaKey) {
      event.preventDefault();
      send();
    }
  };
  return html`
    <form class="editor" onSubmit=${(event) => (event.preventDefault(), send())}>
      <textarea ref=${field} aria-label=${t("editing")} value=${text} onKeyDown=${onKey}
        onInput=${(event) => setText(event.target.value)}></textarea>
      <div class="form-actions">
        <small>${t("editHint")}</small>
        <button type="button" onClick=${() => conversation.setEditing(null)}>${t("cancel")}</button>
        <button type="submit" class="primary" disabled=${!text.trim() || (isQuestion && conversation.isBusy)}>
          ${isQuestion ? t("saveAndAsk") : t("save")}
        </button>
      </div>
    </form>
  `;
}
