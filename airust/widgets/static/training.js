// The training monitor: curves, samples and the stop button. State comes in traits.

import { duration, followTheme, h, hideStill, number } from "./dom.js";
import { Chart } from "./chart.js";

const STATES = {
  ready: "Ready",
  running: "Training",
  stopping: "Stopping after this step",
  stopped: "Stopped",
  finished: "Finished",
  failed: "Failed",
};
const ENDED = ["stopped", "finished", "failed"];

function render({ model, el }) {
  hideStill(model.get("_still"));
  const get = (name) => model.get(name);

  const state = h("span", { class: "state" });
  const announced = h("span", { class: "hidden", role: "status" });
  const stop = h("button", { type: "button", class: "stop", onclick: askToStop }, "Stop");
  const bar = h("div", { class: "bar" });
  const progress = h("div", { class: "progress", role: "progressbar", "aria-label": "steps" }, bar);
  const tiles = Object.fromEntries(
    [
      ["loss", "loss", "nats per token"],
      ["val_loss", "validation loss", "nats per token"],
      ["tokens_per_s", "tokens/s", ""],
      ["lr", "learning rate", "share of peak"],
      ["time", "elapsed", ""],
      ["left", "left", ""],
    ].map(([key, label, unit]) => [key, tile(label, unit)]),
  );
  const loss = new Chart({ label: "loss", unit: "nats per token", height: 220 });
  const lr = new Chart({ label: "learning rate", unit: "share of peak", height: 102 });
  const speed = new Chart({ label: "tokens/s", unit: "", height: 102 });
  const message = h("p", { class: "message" });
  const samples = h("div", { class: "samples" });
  const title = h("span", { class: "title" });

  const root = h(
    "section",
    { class: "airust-monitor", "aria-label": "Training monitor" },
    h("header", {}, h("strong", {}, state), title, stop, announced),
    progress,
    h("div", { class: "tiles" }, ...Object.values(tiles).map((t) => t.root)),
    h(
      "div",
      { class: "charts" },
      loss.root,
      h("div", { class: "small" }, lr.root, speed.root),
    ),
    message,
    samples,
  );
  el.append(root);

  function askToStop() {
    model.send({ kind: "stop" });
    stop.disabled = true;
    stop.textContent = "Stopping…";
  }

  function drawState() {
    const now = get("state");
    root.dataset.state = now;
    state.textContent = STATES[now] ?? now;
    announced.textContent = ENDED.includes(now) ? `${STATES[now]}. ${get("message")}` : "";
    message.textContent = get("message");
    message.hidden = !get("message");
    stop.hidden = now !== "running" && now !== "stopping";
    stop.disabled = now === "stopping";
    stop.textContent = now === "stopping" ? "Stopping…" : "Stop";
  }

  function drawNumbers() {
    const [step, steps, elapsed] = [get("step"), get("steps"), get("elapsed_s")];
    title.textContent = `${get("title")} · step ${step.toLocaleString("en")} of ${steps.toLocaleString("en")}`;
    bar.style.width = `${steps ? (100 * step) / steps : 0}%`;
    progress.setAttribute("aria-valuenow", step);
    progress.setAttribute("aria-valuemax", steps);
    tiles.loss.show(number(get("loss")));
    tiles.val_loss.show(number(get("val_loss")));
    tiles.val_loss.root.hidden = get("val_loss") == null;
    tiles.tokens_per_s.show(number(get("tokens_per_s")));
    tiles.lr.show(number(get("lr"), 3));
    tiles.time.show(duration(elapsed));
    tiles.left.show(step ? duration((elapsed / step) * (steps - step)) : "–");
    tiles.left.root.hidden = ENDED.includes(get("state"));
  }

  function drawCurves() {
    const curve = get("curve");
    const x = curve.step ?? [];
    const points = get("validation");
    const most = get("steps");
    loss.draw(most, [
      { name: "training", x, y: curve.loss ?? [], kind: "first" },
      {
        name: "validation",
        x: points.map((p) => p[0]),
        y: points.map((p) => p[1]),
        kind: "second",
        dots: true,
      },
    ]);
    lr.draw(most, [{ name: "learning rate", x, y: curve.lr ?? [], kind: "third" }]);
    speed.draw(most, [{ name: "tokens/s", x, y: curve.tokens_per_s ?? [], kind: "fourth" }]);
  }

  function drawSamples() {
    const found = get("samples");
    samples.hidden = !found.length;
    samples.replaceChildren(
      h("h4", {}, "What it answers"),
      h(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "samples" },
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, ...["step", "prompt", "answer"].map((t) => h("th", {}, t)))),
          h(
            "tbody",
            {},
            ...found
              .toReversed()
              .map((one) =>
                h("tr", {}, h("td", {}, String(one.step)), h("td", {}, one.prompt), h("td", {}, one.text)),
              ),
          ),
        ),
      ),
    );
  }

  const listeners = [
    ["change:state change:message", drawState],
    ["change:step change:title change:state change:val_loss change:elapsed_s", drawNumbers],
    ["change:curve change:validation", drawCurves],
    ["change:samples", drawSamples],
  ];
  for (const [names, draw] of listeners) {
    draw();
    model.on(names, draw);
  }
  const leaveTheme = followTheme(root);
  const resized = new ResizeObserver(drawCurves);
  resized.observe(root);
  return () => {
    for (const [names, draw] of listeners) model.off(names, draw);
    leaveTheme();
    resized.disconnect();
  };
}

function tile(label, unit) {
  const value = h("span", { class: "value" });
  const root = h("div", { class: "tile", title: unit || null }, h("span", { class: "label" }, label), value);
  return { root, show: (text) => (value.textContent = text) };
}

export default { render };
