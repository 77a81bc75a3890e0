// What went wrong in words that say what to do next.

const WORDS = {
  unreachable: "offline",
  rate_limit_exceeded: "tooMuch",
  engine_overloaded: "tooBusy",
  context_length_exceeded: "tooLong",
  timeout: "tookTooLong",
  shutting_down: "shutDown",
  engine_error: "engineFailed",
};

/** `{ title, text, code }` of any failure. */
export function describe(error, t) {
  const code = error?.code ?? "failed";
  const title = t(WORDS[code] ?? "failed");
  const detail = error?.message ?? "";
  const next = code === "context_length_exceeded" ? t("tooLongNext") : "";
  return { title, text: [detail, next].filter(Boolean).join(" "), code };
}
