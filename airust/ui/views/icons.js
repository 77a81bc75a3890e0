// Line icons on a grid of 24, drawn in the colour of the text around them.

import { html } from "../vendor/preact/standalone.module.js";

const PATHS = {
  plus: "M12 5v14M5 12h14",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6 6 18",
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM20 20l-4.8-4.8",
  send: "M12 19V5M6 11l6-6 6 6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 12.5 10 17 19 7",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6",
  more: "M4 12h11M11 8l4 4-4 4M20 6v12",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  left: "M14.5 6l-6 6 6 6",
  right: "M9.5 6l6 6-6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  settings: "M4 8h9M19 8h1M4 16h1M11 16h9M16 5.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5zM8 13.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5z",
  tokens: "M4 6h6v5H4zM12 6h8v5h-8zM4 13h9v5H4zM15 13h5v5h-5z",
  tree: "M6 4v16M6 8h6a4 4 0 0 1 4 4v1M6 4.5v0M16 13a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5z",
  context: "M4 9h16v6H4zM8 9v3M12 9v4M16 9v3",
  race: "M5 21V4M5 5h13l-2.5 4L18 13H5",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  upload: "M12 16V5M7 9.5l5-5 5 5M5 20h14",
  keyboard: "M3 7h18v10H3zM7 11h.01M11 11h.01M15 11h.01M8 14h8",
  alert: "M12 8v5M12 16.5v.01M12 3 2.5 20h19z",
};

/** An icon; it says nothing to screen readers, its button does. */
export function Icon({ name }) {
  return html`
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d=${PATHS[name]} />
    </svg>
  `;
}

/** A square button with an icon; `label` is its name and its tooltip. */
export function IconButton({ name, label, class: extra = "", ...rest }) {
  return html`
    <button type="button" class=${`icon-button ${extra}`} aria-label=${label} title=${label} ...${rest}>
      <${Icon} name=${name} />
    </button>
  `;
}
