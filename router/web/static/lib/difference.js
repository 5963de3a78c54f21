// What two texts have in common, word by word. Pure but for the time it may take.
import { diffWords, diffWordsWithSpace } from "../vendor/diff.js";

/**
 * @typedef {{text: string, of: 0 | 1 | null}} Piece `of`: whose alone it is; null = both have it.
 * @typedef {{pieces: Piece[], share: number, numSame: number}} Difference `share` of the words that both have, in [0, 1];
 *   `numSame`: words at the beginning that are the same.
 */

const TIMEOUT_MS = 200;
// Scripts without spaces between words. Source: Unicode, Script_Extensions.
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/**
 * The difference of two texts; null where it would take too long.
 *
 * @param {string} first @param {string} second @returns {Difference | null}
 */
export function difference(first, second) {
  const options = { timeout: TIMEOUT_MS };
  const found =
    UNSPACED.test(first + second) && typeof Intl.Segmenter === "function"
      ? diffWords(first, second, { ...options, intlSegmenter: new Intl.Segmenter(undefined, { granularity: "word" }) })
      : diffWordsWithSpace(first, second, options);
  if (!found) return null;
  const pieces = found.map(({ value, added, removed }) => ({ text: value, of: /** @type {0 | 1 | null} */ (removed ? 0 : added ? 1 : null) }));
  const words = [0, 0, 0];
  for (const { text, of } of pieces) words[of ?? 2] += numWords(text);
  const longer = Math.max(words[0], words[1]) + words[2];
  return { pieces, share: longer === 0 ? 1 : words[2] / longer, numSame: pieces[0]?.of === null ? numWords(pieces[0].text) : 0 };
}

const segmenter = typeof Intl.Segmenter === "function" ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;

/** @param {string} text */
function numWords(text) {
  if (!segmenter) return text.split(/\s+/).filter(Boolean).length;
  let num = 0;
  for (const { isWordLike } of segmenter.segment(text)) num += Number(isWordLike);
  return num;
}
