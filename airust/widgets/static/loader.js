// ES modules that arrive as text: see airust/widgets/bundle.py.

/**
 * Import modules that are given as [name, source], each after those it needs.
 * @returns {Promise<object>} the last one's exports
 */
export async function load(modules) {
  const urls = new Map();
  for (const [name, source] of modules) {
    const linked = source.replace(/"airust:([^"]+)"/g, (found, wanted) =>
      urls.has(wanted) ? `"${urls.get(wanted)}"` : found,
    );
    urls.set(name, URL.createObjectURL(new Blob([linked], { type: "text/javascript" })));
  }
  const last = urls.get(modules.at(-1)[0]);
  const loaded = await import(/* webpackIgnore: true */ last);
  for (const url of urls.values()) URL.revokeObjectURL(url);
  return loaded;
}
