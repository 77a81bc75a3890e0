// A text as Markdown, rendered when it comes near the screen.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact/standalone.module.js";
import { showMarkdown } from "../markdown.js";

const NEAR = "1200px"; // above and below what is seen

// One observer for each scrolling element: a thousand messages would otherwise have a thousand.
const observers = new WeakMap();

function observerOf(scroller) {
  if (!observers.has(scroller)) {
    const waiting = new Map();
    const observer = new IntersectionObserver(
      (entries) => {
        for (const entry of entries) {
          if (!entry.isIntersecting) continue;
          observer.unobserve(entry.target);
          waiting.get(entry.target)?.();
          waiting.delete(entry.target);
        }
      },
      { root: scroller, rootMargin: `${NEAR} 0px` },
    );
    observers.set(scroller, { observer, waiting });
  }
  return observers.get(scroller);
}

export function Markdown({ text, labels, now = false }) {
  const place = useRef();
  const [isNear, setNear] = useState(now);
  useEffect(() => {
    if (isNear) return undefined;
    const node = place.current;
    const { observer, waiting } = observerOf(node.closest(".thread"));
    waiting.set(node, () => setNear(true));
    observer.observe(node);
    return () => {
      observer.unobserve(node);
      waiting.delete(node);
    };
  }, [isNear]);
  useLayoutEffect(() => {
    if (isNear) showMarkdown(place.current, text, labels);
  }, [isNear, text, labels]);
  // Until then the bare text: the browser's own search finds it.
  if (!isNear) return html`<div class="markdown bare" ref=${place} key="bare">${text}</div>`;
  return html`<div class="markdown" ref=${place} key="shown"></div>`;
}
