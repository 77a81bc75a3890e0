// The page that `airust serve` gives at "/": the panel over HTTP and a WebSocket.

import { mount } from "./main.js";
import { httpTransport } from "./transport/http.js";

const KEY = "airust.key";
const base = new URL(".", document.baseURI).href;

async function style(path) {
  return (await fetch(`${base}ui/${path}`)).text();
}

const transport = httpTransport(base, {
  key: sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY),
  onKey: (key) => (key ? localStorage.setItem(KEY, key) : localStorage.removeItem(KEY)),
});

mount(document.body, transport, {
  assets: {
    styles: Promise.all(["style.css", "vendor/katex/katex.min.css"].map(style)),
    font: (file) => `${base}ui/vendor/katex/fonts/${file}`,
  },
  isPage: true,
});
