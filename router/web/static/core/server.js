// What the server says of itself: its models, and where each stands, as it changes.
import { batch, computed, signal } from "../vendor/preact.js";
import { ApiError, askJson, follow, needsKey } from "./api.js";
import { engine, model } from "./settings.js";
import { announce } from "./status.js";
import { texts } from "./texts.js";

/**
 * @typedef {import("../../types/api.js").components["schemas"]} Schemas
 * @typedef {Schemas["mlxr.ModelStatus"]} ModelStatus
 * @typedef {{id: string, engines: string[], context_length?: number | null, input_modalities?: string[]}} Model
 */

const RETRY_MS = [250, 500, 1000, 2000, 5000];

/** @type {import("../vendor/preact.js").Signal<Model[] | null>} */
export const models = signal(null);
/** @type {import("../vendor/preact.js").Signal<Map<string, ModelStatus>>} */
export const states = signal(new Map());
export const isConnected = signal(true);
export const chosen = computed(() => models.value?.find((each) => each.id === model.value) ?? null);
/** Where the chosen model stands on the chosen engine, or on any for `auto`. */
export const chosenState = computed(() => stateOf(model.value, engine.value));

/** @param {string} name @param {string} wanted @returns {ModelStatus | null} */
function stateOf(name, wanted) {
  const all = [...states.value.values()].filter((each) => each.model === name);
  const fitting = all.filter((each) => wanted === "auto" || each.engine === wanted);
  return fitting.find((each) => each.state !== "idle") ?? fitting[0] ?? null;
}

export async function refreshModels() {
  const { data } = await askJson("/v1/models");
  batch(() => {
    models.value = data;
    if (!data.some((/** @type {Model} */ each) => each.id === model.value)) model.value = data[0]?.id ?? "";
    if (!chosen.value?.engines.includes(engine.value)) engine.value = "auto";
  });
}

/** @param {{type: string, models?: ModelStatus[]} & Record<string, any>} event */
function onEvent(event) {
  if (event.type === "snapshot") {
    states.value = new Map(event.models?.map((each) => [`${each.engine} ${each.model}`, each]));
  } else if (event.type === "model") {
    states.value = new Map(states.value).set(`${event.engine} ${event.model}`, /** @type {any} */ (event));
  } else if (event.type === "job" && event.state === "done") {
    refreshModels().catch(() => {});
  }
}

/** Follow the server's events for as long as the page is open. */
export async function followServer() {
  let lastId = "";
  for (let attempt = 0; ; attempt += 1) {
    try {
      await refreshModels();
      if (!isConnected.value) announce(texts.status.back);
      isConnected.value = true;
      await follow("/v1/mlxr/events", { headers: lastId ? { "Last-Event-ID": lastId } : {} }, ({ id, data }) => {
        attempt = 0;
        lastId = id ?? lastId;
        onEvent(data);
      });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) await haveKey();
      else if (error instanceof ApiError && error.status === 403) return followStatus();
    }
    if (isConnected.value && !needsKey.value) await checkConnection();
    await pause(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
  }
}

async function checkConnection() {
  try {
    await askJson("/health");
  } catch {
    isConnected.value = false;
    announce(texts.status.gone);
  }
}

/** A key that may ask models but not look at the server is shown no states. */
function followStatus() {
  states.value = new Map();
}

function haveKey() {
  return new Promise((resolve) => {
    const stop = needsKey.subscribe((needed) => {
      if (!needed) queueMicrotask(() => (stop(), resolve(undefined)));
    });
  });
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Load the chosen model, before it is asked. */
export async function loadChosen() {
  const headers = { "X-Mlxr-Engine": engine.value };
  await askJson("/api/generate", { body: { model: model.value, stream: false }, headers });
}

export async function unloadChosen() {
  await askJson("/v1/mlxr/models/stop", { body: { model: model.value } });
}
