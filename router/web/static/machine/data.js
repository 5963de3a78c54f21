// What is known of the machine: looked at once a second while the page is in view, ten minutes of it kept.
import { batch, signal } from "../vendor/preact.js";
import { growth, pointOf, SPAN_S, sumOf, writing } from "./readings.js";
import { ApiError, askJson } from "../core/api.js";

/**
 * @typedef {import("./readings.js").Status} Status
 * @typedef {import("./readings.js").Point} Point
 * @typedef {import("../core/server.js").Schemas["mlxr.RequestStatus"]} Request
 * @typedef {{input: number | null, output: number | null, requests: number | null, cached: number | null, seconds: number}} Rates Per second; `cached` is the share of the prompts.
 */

export const LOOK_MS = 1000;
const RATE_MS = 5000;

export const status = signal(/** @type {Status | null} */ (null));
export const points = signal(/** @type {Point[]} */ ([]));
export const requests = signal(/** @type {Request[]} */ ([]));
/** Tokens of answers per second, between the last two looks. */
export const written = signal(/** @type {number | null} */ (null));
export const rates = signal(/** @type {Rates | null} */ (null));
export const error = signal(/** @type {Error | null} */ (null));
/** Why there are no rates. */
export const noRates = signal(/** @type {Error | null} */ (null));

/** @typedef {{at: number, value: number | null}} Look */
/** @type {{at: number, counters: Record<string, number | null>} | null} */
let before = null;

/** Whether asking again is of no use, with this key. @param {Error | null} thrown */
const isRefused = (thrown) => thrown instanceof ApiError && [401, 403, 404].includes(thrown.status ?? 0);

/** Forget that a key was refused: there may be another one. */
export function lookAnew() {
  error.value = noRates.value = null;
}

export async function look() {
  if (isRefused(error.value)) return;
  try {
    const [now, running] = await Promise.all([askJson("/v1/mlxr/status"), askJson("/v1/mlxr/requests")]);
    const at = Date.now() / 1000;
    batch(() => {
      status.value = now;
      written.value = writing(requests.value, running.requests);
      requests.value = running.requests;
      points.value = [...points.value.filter((each) => each.at >= at - SPAN_S), pointOf(now, at)];
      error.value = null;
    });
  } catch (thrown) {
    error.value = /** @type {Error} */ (thrown);
  }
  if (!isRefused(noRates.value) && (before === null || Date.now() - before.at >= RATE_MS)) await count();
}

async function count() {
  const at = Date.now();
  try {
    const metrics = await askJson("/v1/metrics");
    const counters = {
      input: sumOf(metrics, "mlxr_tokens_total", { type: "input" }),
      cached: sumOf(metrics, "mlxr_tokens_total", { type: "cached" }),
      output: sumOf(metrics, "mlxr_tokens_total", { type: "output" }),
      requests: sumOf(metrics, "mlxr_generations_total"),
    };
    rates.value = ratesOf(counters, at);
    before = { at, counters };
    noRates.value = null;
  } catch (thrown) {
    before = { at, counters: {} };
    noRates.value = thrown instanceof ApiError ? thrown : null;
  }
}

/** @param {Record<string, number | null>} counters @param {number} at @returns {Rates | null} */
function ratesOf(counters, at) {
  if (before === null) return null;
  const last = before;
  /** @param {string} name */
  const of = (name) => growth({ at: last.at, value: last.counters[name] ?? null }, { at, value: counters[name] });
  const [input, cached] = [counters.input, counters.cached];
  return { input: of("input"), output: of("output"), requests: of("requests"), cached: input && cached !== null ? cached / input : null, seconds: (at - last.at) / 1000 };
}
