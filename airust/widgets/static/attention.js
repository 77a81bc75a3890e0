// Attention maps and the logit lens. State comes in traits; the text and the choices go back.

import { followTheme, h, hideStill } from "./dom.js";

function render({ model, el }) {
  hideStill(model.get("_still"));
  const get = (name) => model.get(name);
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };

  const input = h("textarea", { rows: 1, "aria-label": "Text that the model reads", spellcheck: "false" });
  const chat = h("input", { type: "checkbox", onchange: () => set({ chat: chat.checked }) });
  const asked = h("label", {}, chat, "as a question");
  const form = h("form", { onsubmit: read }, input, asked, h("button", { type: "submit" }, "Read"));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) read(event);
  });
  const message = h("p", { class: "message", role: "alert" });
  const said = h("p", { class: "said", role: "status" });
  const strip = h("div", { class: "tokens", role: "group", "aria-label": "Tokens; choose the one that looks" });
  const maps = h("div", { class: "maps", role: "group", "aria-label": "Heads" });
  const large = h("canvas", { class: "large" });
  const tip = h("div", { class: "tip", hidden: true });
  const lens = h("div", { class: "lens", tabindex: 0, role: "region", "aria-label": "Logit lens" });
  const detail = h("div", { class: "detail", "aria-live": "polite" });
  // Keys that are typed here are not the notebook's shortcuts.
  const root = h(
    "section",
    {
      class: "airust-attention",
      "aria-label": "Attention and logit lens",
      "data-lm-suppress-shortcuts": "true",
    },
    form,
    message,
    h("h4", {}, "Where it looks"),
    said,
    strip,
    h("div", { class: "heads" }, maps, h("figure", {}, large, tip), detail),
    h("h4", {}, "Logit lens: what each layer would say next"),
    lens,
  );
  el.append(root);
  large.addEventListener("pointermove", point);
  large.addEventListener("pointerleave", () => (tip.hidden = true));
  large.addEventListener("click", (event) => {
    const at = cellAt(event);
    if (at) set({ position: at.from });
  });

  function read(event) {
    event.preventDefault();
    set({ text: input.value });
  }

  const weights = () => {
    const view = get("_weights");
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  };
  /** Weights of one head: [from * T + to], 255 is 1. */
  function mapOf(layer, head) {
    const [, heads, T] = get("_shape");
    return weights().subarray((layer * heads + head) * T * T, (layer * heads + head + 1) * T * T);
  }

  function drawText() {
    if (document.activeElement !== input) input.value = get("text");
    chat.checked = get("chat");
    asked.hidden = !get("_can_chat");
    message.textContent = get("message");
    message.hidden = !get("message");
  }

  function drawTokens() {
    const [, , T] = get("_shape");
    const tokens = get("_tokens");
    const position = get("position");
    const row = mapOf(get("layer"), get("head")).subarray(position * T, (position + 1) * T);
    const buttons = [...tokens].map((token, i) => {
      const share = (row[i] ?? 0) / 255;
      const button = h(
        "button",
        {
          type: "button",
          "aria-pressed": i === position,
          tabindex: i === position ? 0 : -1,
          disabled: false,
          title: i <= position ? `${percent(share)} from “${tokens[position]}”` : "later: it cannot be seen",
          class: i > position ? "later" : null,
          onclick: () => set({ position: i }),
        },
        token,
      );
      button.style.setProperty("--share", share);
      return button;
    });
    const hadFocus = strip.contains(document.activeElement);
    strip.replaceChildren(...buttons);
    if (hadFocus) buttons[position]?.focus();
    const order = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 3);
    const told = order.filter((i) => row[i] > 2).map((i) => `“${tokens[i]}” ${percent(row[i] / 255)}`);
    said.textContent =
      `Layer ${get("layer") + 1}, head ${get("head") + 1}: “${tokens[position]}” looks at ${told.join(", ")}`;
  }
  strip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    set({ position: Math.max(0, Math.min(get("position") + step, get("_shape")[2] - 1)) });
  });

  function drawMaps() {
    const [layers, heads] = get("_shape");
    maps.style.setProperty("--heads", heads);
    const buttons = [];
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) {
        const canvas = h("canvas", { "aria-hidden": "true" });
        paint(canvas, layer, head);
        const chosen = layer === get("layer") && head === get("head");
        buttons.push(
          h(
            "button",
            {
              type: "button",
              "aria-pressed": chosen,
              "aria-label": `Layer ${layer + 1}, head ${head + 1}`,
              onclick: () => set({ layer, head }),
            },
            canvas,
            h("span", {}, `${layer + 1}.${head + 1}`),
          ),
        );
      }
    }
    const focused = [...maps.children].indexOf(document.activeElement);
    maps.replaceChildren(...buttons);
    if (focused >= 0) buttons[focused]?.focus();
  }

  function paint(canvas, layer, head) {
    const [, , T] = get("_shape");
    canvas.width = canvas.height = T;
    const context = canvas.getContext("2d");
    const image = context.createImageData(T, T);
    const style = getComputedStyle(root);
    const [r, g, b] = style.getPropertyValue("--ink").split(" ").map(Number);
    mapOf(layer, head).forEach((weight, i) => {
      // The root of the weight: small weights are many, and would be invisible.
      image.data.set([r, g, b, 255 * Math.sqrt(weight / 255)], 4 * i);
    });
    context.putImageData(image, 0, 0);
  }

  function drawLarge() {
    paint(large, get("layer"), get("head"));
    large.setAttribute("role", "img");
    large.setAttribute("aria-label", `Attention map. ${said.textContent}`);
  }

  function cellAt(event) {
    const [, , T] = get("_shape");
    const box = large.getBoundingClientRect();
    const to = Math.floor(((event.clientX - box.left) / box.width) * T);
    const from = Math.floor(((event.clientY - box.top) / box.height) * T);
    return to >= 0 && from >= 0 && to < T && from < T ? { from, to, T } : null;
  }

  function point(event) {
    const at = cellAt(event);
    tip.hidden = !at || at.to > at.from;
    if (tip.hidden) return;
    const weight = mapOf(get("layer"), get("head"))[at.from * at.T + at.to] / 255;
    const tokens = get("_tokens");
    tip.textContent = `“${tokens[at.from]}” looks at “${tokens[at.to]}”: ${percent(weight)}`;
  }

  function drawLens() {
    const tokens = get("_tokens");
    const layers = get("_lens");
    const position = get("position");
    const names = layers.map((_, i) => (i ? `layer ${i}` : "embedding"));
    const scrolled = lens.scrollLeft;
    const head = h("tr", {}, h("th", { scope: "col" }, "after"),
      ...tokens.map((t, i) => h("th", { scope: "col", class: i === position ? "chosen" : null }, t)));
    const rows = layers
      .map((cells, layer) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, names[layer]),
          ...cells.map(([[token, probability]], i) => {
            const cell = h(
              "td",
              {
                class: i === position ? "chosen" : null,
                title: `${percent(probability)}; what follows: ${percent(get("_right")[layer][i])}`,
                onclick: () => set({ position: i }),
              },
              token,
            );
            cell.style.setProperty("--share", probability);
            if (token === tokens[i + 1]) cell.classList.add("right");
            return cell;
          }),
        ),
      )
      .toReversed();
    lens.replaceChildren(h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)));
    lens.scrollLeft = scrolled;
    const chosen = lens.querySelector("th.chosen");
    if (chosen) {
      const [left, right] = [chosen.offsetLeft - 90, chosen.offsetLeft + chosen.offsetWidth];
      if (left < lens.scrollLeft) lens.scrollLeft = left;
      else if (right > lens.scrollLeft + lens.clientWidth) lens.scrollLeft = right - lens.clientWidth;
    }
    detail.replaceChildren(
      h("strong", {}, `What follows “${tokens[position]}”`),
      h("p", {}, "The likeliest next tokens after each layer"),
      ...layers.map((cells, layer) =>
        h("div", { class: "row" }, h("span", { class: "name" }, names[layer]), ...bars(cells[position].slice(0, 3))),
      ).toReversed(),
    );
  }

  function bars(top) {
    return top.map(([token, probability]) => {
      const bar = h("span", { class: "guess" }, `${token} `, h("em", {}, percent(probability)));
      bar.style.setProperty("--share", probability);
      return bar;
    });
  }

  const draw = () => {
    drawText();
    if (!get("_tokens").length) return;
    drawTokens();
    drawMaps();
    drawLarge();
    drawLens();
  };
  const leaveTheme = followTheme(root);
  const themed = new MutationObserver(draw);
  themed.observe(root, { attributeFilter: ["data-theme"] });
  let frame = 0;
  const changed = () => {
    cancelAnimationFrame(frame); // several traits change together
    frame = requestAnimationFrame(draw);
  };
  model.on("change", changed);
  draw();
  return () => {
    model.off("change", changed);
    cancelAnimationFrame(frame);
    themed.disconnect();
    leaveTheme();
  };
}

function percent(share) {
  if (share == null) return "–";
  const value = 100 * share;
  return `${value > 0 && value < 1 ? "<1" : Math.round(value)}%`;
}

export default { render };
