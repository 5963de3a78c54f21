// The benchmark that a round started: followed to its end, also where its stream breaks.
import { effect, signal } from "../vendor/preact.js";
import { contestant } from "./sides.js";
import { ApiError, ask, askJson, follow } from "../core/api.js";
import { jobs } from "../core/server.js";
import { options } from "../core/settings.js";
import { announce } from "../core/status.js";
import { texts } from "../core/texts.js";

/**
 * @typedef {import("../lib/figures.js").Run} Run
 * @typedef {import("./state.js").Round} Round
 * @typedef {object} Measurement
 * @property {string} roundId
 * @property {string} model
 * @property {"running" | "done" | "failed"} state
 * @property {number} share
 * @property {string} what Is done now.
 * @property {string | null} benchId
 * @property {boolean} isBroken Its stream is gone: events tell of its end.
 * @property {Run | null} run
 * @property {string | null} error
 */

const MINUTES = 5;
const MAX_TOKENS = 128;

/** The last one of this page. */
export const measurement = signal(/** @type {Measurement | null} */ (null));

/** @param {Partial<Measurement>} change */
function change(change) {
  if (measurement.value) measurement.value = { ...measurement.value, ...change };
}

/** @param {Round} round */
function optionsOf(round) {
  const { system, maxTokens } = options.value;
  const said = [...(system ? [{ role: "system", content: system }] : []), { role: "user", content: round.text }];
  return {
    model: round.entries[0].side.model,
    contestants: round.entries.map(({ side }) => contestant(side)),
    prompts: [{ messages: said }],
    max_tokens: maxTokens ?? MAX_TOKENS,
    minutes: MINUTES,
    quality: false,
  };
}

/** @param {Round} round */
export async function measure(round) {
  const { model } = round.entries[0].side;
  measurement.value = { roundId: round.id, model, state: "running", share: 0, what: "", benchId: null, isBroken: false, run: null, error: null };
  announce(texts.measure.begins);
  let isOver = false;
  let broken = new ApiError(texts.error.network);
  await follow("/v1/mlxr/bench", { body: optionsOf(round) }, ({ data }) => {
    isOver ||= ["done", "failed"].includes(data.type);
    onEvent(data);
  }).catch((error) => (broken = error));
  if (isOver) return;
  // One that has begun goes on without its reader.
  if (measurement.value?.benchId) change({ isBroken: true });
  else change({ state: "failed", error: broken.message });
}

/** @param {import("../../types/api.js").components["schemas"]["mlxr.BenchStarted" | "mlxr.BenchStep" | "mlxr.BenchDone" | "mlxr.BenchFailed" | "mlxr.BenchSampled"]} event */
function onEvent(event) {
  if (event.type === "started") change({ benchId: event.bench_id });
  else if (event.type === "step") change({ share: event.share, what: event.what });
  else if (event.type === "failed") change({ state: "failed", error: event.message });
  else if (event.type === "done") readRun(event.bench_id);
}

/** @param {string} benchId */
async function readRun(benchId) {
  change({ isBroken: false });
  try {
    const run = await askJson(`/v1/mlxr/bench/${benchId}`);
    change({ state: "done", run });
    announce(texts.measure.ended);
  } catch (error) {
    change({ state: "failed", error: /** @type {Error} */ (error).message });
  }
}

/** Read one of which no event tells: a server that was started anew runs it no more. @param {string} benchId */
async function readIfOver(benchId) {
  const { running } = await askJson("/v1/mlxr/bench?limit=1");
  if (running !== benchId) await readRun(benchId);
}

effect(() => {
  const { state, benchId, isBroken, model } = measurement.value ?? {};
  if (state !== "running" || !benchId || !isBroken) return;
  const told = jobs.value.get(`bench ${model}`); // known by its model
  if (!told) readIfOver(benchId).catch(() => {}); // a server that is back tells its jobs anew
  else if (told.state === "failed") change({ state: "failed", error: told.message ?? texts.error.network });
  else if (told.state !== "running") readRun(benchId);
});

export const stopMeasuring = () => ask("/v1/mlxr/bench/stop", { method: "POST" });
