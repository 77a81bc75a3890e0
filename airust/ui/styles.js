// Styles of a shadow root, from texts: constructed sheets need no <style> that a CSP would refuse.

const FACE = /@font-face\s*\{([^}]*)\}/g;
const registered = new WeakMap(); // document -> fonts that it has already

/** Give a shadow root its styles, and its document the fonts of formulas. */
export async function adoptStyles(shadow, { styles = [], font }) {
  const texts = await styles;
  shadow.adoptedStyleSheets = texts.map((text) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text.replace(FACE, ""));
    return sheet;
  });
  if (font) for (const text of texts) addFonts(shadow.ownerDocument, text, font);
}

/** @font-face does nothing inside a shadow root; the document must know the fonts. */
async function addFonts(document, css, font) {
  const known = registered.get(document) ?? new Set();
  registered.set(document, known);
  for (const [, rule] of css.matchAll(FACE)) {
    const file = /url\(["']?(?:[^)"']*\/)?([^)"'/]+\.woff2)/.exec(rule)?.[1];
    if (!file || known.has(file)) continue;
    known.add(file);
    const value = (name) => new RegExp(`${name}\\s*:\\s*["']?([^;"'}]+)`).exec(rule)?.[1];
    let given;
    try {
      given = await font(file);
    } catch {
      known.delete(file); // the other side is gone: another panel may still find one
      return;
    }
    const source = typeof given === "string" ? `url(${JSON.stringify(given)})` : given;
    const descriptors = { style: value("font-style"), weight: value("font-weight") };
    document.fonts.add(new FontFace(value("font-family"), source, descriptors));
  }
}
