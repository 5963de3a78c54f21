// What the server says of the machine, made ready to be shown. Pure.

/**
 * @typedef {import("../../types/api.js").components["schemas"]} Schemas
 * @typedef {Schemas["mlxr.Status"]} Status
 * @typedef {Schemas["mlxr.Swap"]} Swap
 * @typedef {Schemas["mlxr.MetricList"]} Metrics
 * @typedef {{at: number, available: number | null, gateway: number | null, workers: number | null}} Point Bytes, at seconds since 1970.
 */

/** How far back the timeline goes. */
export const SPAN_S = 600;
/** Where nobody looked for so long, a line is broken. */
const GAP_S = 5;

/** @param {Status} status @param {number} at @returns {Point} */
export function pointOf(status, at) {
  const known = status.workers.map(({ rss_bytes: bytes }) => bytes).filter((bytes) => bytes !== null);
  return { at, available: status.memory_available_bytes, gateway: status.gateway_rss_bytes, workers: known.length === 0 ? (status.workers.length === 0 ? 0 : null) : known.reduce((sum, bytes) => sum + bytes, 0) };
}

/**
 * The timeline: what was looked at, and what the server measured before and after each swap, in order. A line is broken at null, and goes on over
 * undefined.
 *
 * @param {readonly Point[]} points @param {readonly Swap[]} swaps @param {number} now @returns {(number | null | undefined)[][]}
 */
export function timeline(points, swaps, now) {
  const measured = swaps.flatMap(({ at, available_before_bytes: before, available_after_bytes: after, unload_ms: unloadMs }) => [
    ...(before == null ? [] : [{ at: at - (unloadMs ?? 0) / 1000, available: before, gateway: undefined, workers: undefined }]),
    ...(after == null ? [] : [{ at, available: after, gateway: undefined, workers: undefined }]),
  ]);
  const all = [...points, ...measured].filter(({ at }) => at >= now - SPAN_S).sort((one, other) => one.at - other.at);
  const broken = all.flatMap((each, place) => (place > 0 && each.at - all[place - 1].at > GAP_S ? [{ at: each.at - 0.001, available: null, gateway: null, workers: null }, each] : [each]));
  return [broken.map(({ at }) => at), broken.map(({ available }) => available), broken.map(({ workers }) => workers), broken.map(({ gateway }) => gateway)];
}

/** The sum of a metric's series that have some labels; null where there is no such metric. @param {Metrics} metrics @param {string} name @param {Record<string, string>} [labels] */
export function sumOf(metrics, name, labels = {}) {
  const family = metrics.metrics.find((each) => each.name === name);
  if (!family) return null;
  const fitting = family.series.filter((each) => Object.entries(labels).every(([label, value]) => each.labels[label] === value));
  return fitting.reduce((sum, each) => sum + (each.value ?? 0), 0);
}

/**
 * How much a counter grew in a second between two looks; null where that cannot be told.
 *
 * @param {{at: number, value: number | null} | undefined} before @param {{at: number, value: number | null}} now At: ms.
 */
export function growth(before, now) {
  if (!before || before.value === null || now.value === null || now.value < before.value || now.at <= before.at) return null;
  return ((now.value - before.value) * 1000) / (now.at - before.at);
}

/**
 * Tokens of answers that were written in a second between two looks at the requests, by the server's own counts and ages; null where nothing ran at both.
 *
 * @param {readonly Schemas["mlxr.RequestStatus"][]} before @param {readonly Schemas["mlxr.RequestStatus"][]} now
 */
export function writing(before, now) {
  const sum = (/** @type {readonly number[]} */ counts) => counts.reduce((total, each) => total + each, 0);
  const rates = now.flatMap((each) => {
    const earlier = before.find(({ id }) => id === each.id);
    if (!earlier || each.age_s <= earlier.age_s || each.output_tokens.length === 0) return [];
    return [(sum(each.output_tokens) - sum(earlier.output_tokens)) / (each.age_s - earlier.age_s)];
  });
  return rates.length === 0 ? null : sum(rates);
}

/** An event of the server in a line. @param {any} event */
export function lineOf(event) {
  const { type, at: _, ...rest } = event;
  const words = Object.entries(rest).filter(([, value]) => value !== null && typeof value !== "object");
  return words.map(([name, value]) => `${name} ${typeof value === "number" ? Math.round(value * 100) / 100 : value}`).join(", ");
}
