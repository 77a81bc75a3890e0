// The clipboard.

/** Put a text on the clipboard, also on a page without HTTPS. */
export async function copyText(app, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    field.style.position = "fixed";
    field.style.opacity = "0";
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  app.say(app.t("copied"));
}
