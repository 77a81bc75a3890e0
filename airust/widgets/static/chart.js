// A line chart in SVG: axes in round numbers, a legend where there are two lines, values on hover.

import { h, number, s, ticks } from "./dom.js";

const LEFT = 46;
const RIGHT = 10;
const TOP = 22;
const BOTTOM = 20;

export class Chart {
  constructor({ label, unit, height }) {
    this.label = label;
    this.unit = unit;
    this.height = height;
    this.svg = s("svg", { role: "img" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.root = h("figure", { class: "chart" }, this.svg, this.tip);
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#leave());
  }

  /** Draw lines ({name, x, y, kind, dots}) over steps from 0 to `most`. */
  draw(most, lines) {
    const width = Math.max(this.root.clientWidth, 220);
    const right = width - RIGHT;
    const bottom = this.height - BOTTOM;
    const shown = lines.filter((line) => line.y.length);
    const values = shown.flatMap((line) => line.y);
    const high = Math.max(...values, 0) * 1.05 || 1;
    const across = (step) => LEFT + ((right - LEFT) * step) / (most || 1);
    const up = (value) => bottom - ((bottom - TOP) * value) / high;
    this.at = { shown, across, up, most };
    const parts = [];
    for (const value of ticks(0, high, this.height > 150 ? 4 : 2)) {
      parts.push(
        s("line", { class: "grid", x1: LEFT, x2: right, y1: up(value), y2: up(value) }),
        s("text", { x: LEFT - 6, y: up(value) + 4, "text-anchor": "end" }, number(value)),
      );
    }
    for (const step of ticks(0, most, Math.max(2, Math.floor(width / 110)))) {
      const anchor = step === 0 ? "start" : across(step) > right - 14 ? "end" : "middle";
      parts.push(
        s("text", { x: across(step), y: this.height - 5, "text-anchor": anchor }, number(step)),
      );
    }
    const heading = this.unit ? `${this.label} (${this.unit})` : this.label;
    parts.push(s("text", { class: "heading", x: 2, y: 13 }, heading));
    if (shown.length > 1) parts.push(...legend(shown, right));
    for (const { x, y, kind, dots } of shown) {
      const points = x.map((step, i) => `${across(step).toFixed(1)},${up(y[i]).toFixed(1)}`);
      parts.push(s("polyline", { class: `line ${kind}`, points: points.join(" ") }));
      if (dots) {
        parts.push(
          ...x.map((step, i) => s("circle", { class: kind, cx: across(step), cy: up(y[i]), r: 3 })),
        );
      }
    }
    this.hover = s("line", { class: "hover", y1: TOP, y2: bottom, visibility: "hidden" });
    parts.push(this.hover);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.svg.setAttribute("height", this.height);
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("aria-label", this.#describe(shown));
    this.svg.replaceChildren(...parts);
  }

  #describe(lines) {
    if (!lines.length) return `${this.label}: no values yet`;
    const told = lines.map(
      ({ name, y }) => `${name} from ${number(y[0])} to ${number(y.at(-1))}`,
    );
    return `Line chart of ${this.label}: ${told.join("; ")}`;
  }

  #point(event) {
    const { shown, across, most } = this.at;
    if (!shown.length) return;
    const box = this.svg.getBoundingClientRect();
    const [from, to] = [across(0), across(most)];
    const step = (((event.clientX - box.left) * this.svg.viewBox.baseVal.width) / box.width - from) / (to - from) * most;
    const told = shown.map(({ name, x, y }) => {
      const i = nearest(x, step);
      return { name, step: x[i], value: y[i] };
    });
    const where = across(told[0].step);
    this.hover.setAttribute("x1", where);
    this.hover.setAttribute("x2", where);
    this.hover.setAttribute("visibility", "visible");
    const lines = told.map(({ name, value }) => `${name} ${number(value)}`);
    this.tip.textContent = [`step ${number(told[0].step)}`, ...lines].join(" · ");
    this.tip.hidden = false;
    this.tip.style.left = `${Math.min(where, box.width - this.tip.offsetWidth - 4)}px`;
  }

  #leave() {
    this.tip.hidden = true;
    this.hover?.setAttribute("visibility", "hidden");
  }
}

function legend(lines, right) {
  let x = right;
  return lines.toReversed().flatMap(({ name, kind }) => {
    x -= 7 * name.length + 26;
    return [
      s("line", { class: `line ${kind}`, x1: x, x2: x + 14, y1: 9, y2: 9 }),
      s("text", { x: x + 18, y: 13 }, name),
    ];
  });
}

function nearest(sorted, wanted) {
  let best = 0;
  for (let i = 1; i < sorted.length; i++) {
    if (Math.abs(sorted[i] - wanted) < Math.abs(sorted[best] - wanted)) best = i;
  }
  return best;
}
