// Votes between pairs that nobody was told the names of. Opinions, and kept apart from measurements. Pure.

/**
 * @typedef {import("./sides.js").Side} Side
 * @typedef {0 | 1 | "both" | "none"} Vote Who was better; both alike well, or none.
 * @typedef {{names: [string, string], won: [number, number], both: number, none: number}} Count
 * @typedef {Record<string, Count>} Tally By the pair's names.
 */

/**
 * Count a vote.
 *
 * @param {Tally} tally @param {[string, string]} names Of the sides, as the bench names them. @param {Vote} vote
 * @returns {Tally}
 */
export function counted(tally, names, vote) {
  // The same two are one pair, whoever is called A.
  const isTurned = names[1] < names[0];
  const sorted = /** @type {[string, string]} */ (isTurned ? [names[1], names[0]] : names);
  const key = sorted.join(" | ");
  const before = tally[key] ?? { names: sorted, won: [0, 0], both: 0, none: 0 };
  const after = { ...before, won: /** @type {[number, number]} */ ([...before.won]) };
  if (typeof vote === "number") after.won[isTurned ? 1 - vote : vote] += 1;
  else after[vote] += 1;
  return { ...tally, [key]: after };
}
