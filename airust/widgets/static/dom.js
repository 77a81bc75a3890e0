// What the small widgets share: elements, themes, and axes.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: attributes, `on...` listeners, and children (elements or strings). */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Hide the still picture of a widget that is drawn itself. */
export function hideStill(name) {
  const id = `${name}-hidden`;
  if (document.getElementById(id) || !/^[\w-]+$/.test(name)) return;
  const rule = `.jp-OutputArea-child:has(.${name}), .${name} { display: none !important; }`;
  document.head.append(h("style", { id }, rule));
}

/** Keep `data-theme` of an element on "light" or "dark", as the page behind it is. */
export function followTheme(element) {
  const apply = () => {
    element.dataset.theme = isDark(element) ? "dark" : "light";
  };
  const observer = new MutationObserver(apply);
  for (const target of [document.documentElement, document.body]) {
    observer.observe(target, { attributes: true });
  }
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", apply);
  // Not in the page yet: its colours are known after the host has put it there.
  const frame = requestAnimationFrame(apply);
  apply();
  return () => {
    observer.disconnect();
    media.removeEventListener("change", apply);
    cancelAnimationFrame(frame);
  };
}

function isDark(element) {
  const light = document.body.dataset.jpThemeLight; // JupyterLab, Notebook 7
  if (light !== undefined) return light === "false";
  const kind = document.body.dataset.vscodeThemeKind; // VS Code
  if (kind !== undefined) return !kind.includes("light");
  for (let node = element; node; node = node.parentElement) {
    const [r, g, b, a = 1] = (getComputedStyle(node).backgroundColor.match(/[\d.]+/g) ?? []).map(
      Number,
    );
    if (r !== undefined && a > 0.5) return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** About `count` round numbers from `low` to `high`. */
export function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((x) => x >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9); i++) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

/** A number for people: 4 significant digits, thousands apart. */
export function number(value, digits = 4) {
  if (value == null || !Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}

/** Seconds as 1:02:03 or 2:03. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}
