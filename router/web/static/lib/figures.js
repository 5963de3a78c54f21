// Figures of answers and of benchmarks, as the server gives them, in words. Pure.
import { bytes, count, duration, rate } from "./format.js";

/**
 * @typedef {import("../../types/api.js").components["schemas"]} Schemas
 * @typedef {Schemas["openai.Timings"]} Timings
 * @typedef {Schemas["mlxr.BenchRun"]} Run
 * @typedef {Schemas["mlxr.Figure"]} Figure
 * @typedef {Schemas["mlxr.Interval"]} Interval
 */

/** Of a figure's name, which has its unit at the end. @type {[RegExp, (value: number) => string][]} */
const UNITS = [
  [/tokens_per_s$/, rate],
  [/rows_per_s$/, (value) => `${value.toFixed(value < 10 ? 1 : 0)} rows/s`],
  [/_ms$/, duration],
  [/_s$/, (value) => duration(value * 1000)],
  [/_bytes$/, bytes],
  [/_percent$/, (value) => `${Math.round(value)} %`],
  [/_j$/, (value) => `${value.toFixed(value < 10 ? 1 : 0)} J`],
];

/** @param {string} name @param {number} value */
export function amount(name, value) {
  const unit = UNITS.find(([pattern]) => pattern.test(name));
  return unit ? unit[1](value) : count(value);
}

/** How many times something is another. @param {number} ratio */
export const times = (ratio) => `× ${ratio.toFixed(2)}`;

/** Names of figures of one answer, in the order in which they are shown. */
export const ANSWER_FIGURES = /** @type {const} */ (["first_token_ms", "load_ms", "queue_ms", "prefill_tokens_per_s", "decode_tokens_per_s", "num_tokens"]);

/**
 * The figures of one answer; null where there is none.
 *
 * @param {Timings | null} timings @returns {Record<typeof ANSWER_FIGURES[number], number | null>}
 */
export function answerFigures(timings) {
  if (!timings) return { first_token_ms: null, load_ms: null, queue_ms: null, prefill_tokens_per_s: null, decode_tokens_per_s: null, num_tokens: null };
  return {
    first_token_ms: timings.prompt_ms + timings.load_ms + timings.queue_ms,
    load_ms: timings.load_ms || null,
    queue_ms: timings.queue_ms,
    prefill_tokens_per_s: timings.prompt_per_second,
    decode_tokens_per_s: timings.predicted_per_second,
    num_tokens: timings.predicted_n,
  };
}

/** A figure with its interval: the value, and between what it surely is. @param {string} name @param {Figure | undefined} figure */
export function withInterval(name, figure) {
  if (figure?.value === null || figure?.value === undefined) return null;
  const { interval } = figure;
  return { value: amount(name, figure.value), between: interval ? range(amount(name, interval.low), amount(name, interval.high)) : null };
}

/** Both ends, the unit once where it is the same. @param {string} low @param {string} high @returns {[string, string]} */
function range(low, high) {
  const unit = / \D+$/.exec(high)?.[0];
  return [unit && low.endsWith(unit) ? low.slice(0, -unit.length) : low, high];
}

/** Names of the figures of a part of a run that any contestant has. @param {readonly {figures: Record<string, Figure>}[]} contestants */
export function measuredNames(contestants) {
  const names = Object.keys(contestants[0]?.figures ?? {});
  return names.filter((name) => contestants.some(({ figures }) => (figures[name]?.value ?? null) !== null));
}
