// What the inspector says about tokens: probabilities, entropy, time. Pure.

export const LEVELS = 8; // of colour; 0 is none

/** Entropy in bits of what the top alternatives say. The rest counts as one more alternative, so
 * it is a lower bound: `exact` tells whether the rest is too small to matter. */
export function entropyOf(token) {
  if (token.top.length === 0) return null;
  let bits = 0;
  let mass = 0;
  for (const { logprob } of token.top) {
    const p = Math.exp(logprob);
    mass += p;
    if (p > 0) bits -= p * Math.log2(p);
  }
  const rest = Math.max(0, 1 - mass);
  if (rest > 1e-6) bits -= rest * Math.log2(rest);
  return { bits, rest, exact: rest < 0.001 };
}

/** Seconds between a token and the one before it; null where they are not known. */
export function stepOf(tokens, index) {
  const now = tokens[index].seconds;
  const before = index > 0 ? tokens[index - 1].seconds : 0;
  return now === null || before === null ? null : Math.max(0, now - before);
}

/** How strongly a token is coloured, 0 to LEVELS: the more surprising, uncertain or slow. */
export function levelOf(tokens, index, by) {
  const token = tokens[index];
  if (by === "time") {
    const step = stepOf(tokens, index);
    const longest = Math.max(...tokens.map((_, i) => (i > 0 ? stepOf(tokens, i) ?? 0 : 0)));
    return step === null || index === 0 || longest === 0 ? 0 : Math.round((step / longest) * LEVELS);
  }
  if (by === "entropy") {
    const entropy = entropyOf(token);
    return entropy === null ? 0 : Math.min(LEVELS, Math.round(entropy.bits * 2));
  }
  if (token.logprob === null) return 0;
  return Math.round((1 - Math.exp(token.logprob)) * LEVELS);
}

/** The text of a token with what cannot be seen made visible. */
export function visible(text) {
  if (text === null || text === "") return "·";
  return text.replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/^ +| +$/g, (s) => "␣".repeat(s.length));
}

/** Where answers first differ: `{ index, unit }`; null while they agree. The unit is "token" where
 * all tell token ids (they are taken for the same vocabulary), otherwise "character". */
export function firstDifference(answers) {
  const lists = answers.map((a) => (a.tokens.some((t) => t.id === null) ? null : a.tokens.map((t) => t.id)));
  const haveIds = lists.every((list) => list && list.length > 0);
  const units = haveIds ? lists : answers.map((answer) => [...answer.text]);
  const longest = Math.max(0, ...units.map((list) => list.length));
  for (let i = 0; i < longest; i++) {
    const there = units.filter((list, n) => i < list.length || answers[n].ended);
    if (there.length > 1 && there.some((list) => list[i] !== there[0][i])) {
      return { index: i, unit: haveIds ? "token" : "character" };
    }
  }
  return null;
}

/** How many characters at their beginning all answers share. */
export function sharedLength(texts) {
  if (texts.length === 0) return 0;
  let length = Math.min(...texts.map((text) => text.length));
  for (let i = 0; i < length; i++) {
    if (texts.some((text) => text[i] !== texts[0][i])) length = i;
  }
  // Not in the middle of a character of two code units.
  const last = texts[0].charCodeAt(length - 1);
  return last >= 0xd800 && last <= 0xdbff ? length - 1 : length;
}
