// What the server says of itself: its models, and where each stands, as it changes.
import { batch, computed, signal } from "../vendor/preact.js";
import { ApiError, askJson, follow, needsKey } from "./api.js";
import { engine, model, options } from "./settings.js";
import { announce } from "./status.js";
import { texts } from "./texts.js";

/**
 * @typedef {import("../../types/api.js").components["schemas"]} Schemas
 * @typedef {Schemas["mlxr.ModelStatus"]} ModelStatus
 * @typedef {Omit<Schemas["openai.ModelObject"], "engines"> & {engines: string[]}} Model
 * @typedef {Schemas["mlxr.Swapped"]} Swap
 * @typedef {Schemas["mlxr.JobChanged"]} Job
 */

const LOOK_MS = 3000;
const MAX_HEARD = 200;
const RETRY_MS = [250, 500, 1000, 2000, 5000];

/** Those that answer in words. @type {import("../vendor/preact.js").Signal<Model[] | null>} */
export const models = signal(null);
/** @type {import("../vendor/preact.js").Signal<Map<string, ModelStatus>>} */
export const states = signal(new Map());
/** Long work by its kind and id, as it was told of last. @type {import("../vendor/preact.js").Signal<Map<string, Job>>} */
export const jobs = signal(new Map());
export const isConnected = signal(true);
/** The last events since the page was opened, newest first, numbered. @type {import("../vendor/preact.js").Signal<{number: number, event: any}[]>} */
export const heard = signal([]);
/** @type {Set<(swap: Swap) => void>} */
const swapListeners = new Set();
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
  /** @type {{data: Model[]}} */
  const { data } = await askJson("/v1/models");
  const answering = data.filter((each) => each.capabilities.includes("completion"));
  batch(() => {
    models.value = answering;
    if (!answering.some((each) => each.id === model.value)) model.value = answering[0]?.id ?? "";
    if (!chosen.value?.engines.includes(engine.value)) engine.value = "auto";
  });
}

/** Be told of each load and unload. @param {(swap: Swap) => void} listener */
export function onSwap(listener) {
  swapListeners.add(listener);
}

/** @param {any} event One of `/v1/mlxr/events`. */
function onEvent(event) {
  if (event.type !== "snapshot") heard.value = [{ number: (heard.value[0]?.number ?? 0) + 1, event }, ...heard.value].slice(0, MAX_HEARD);
  if (event.type === "snapshot") {
    states.value = new Map(event.models.map((/** @type {ModelStatus} */ each) => [`${each.engine} ${each.model}`, each]));
    jobs.value = new Map(event.jobs.map((/** @type {Job} */ each) => [`${each.job} ${each.id}`, each]));
  } else if (event.type === "model") {
    states.value = new Map(states.value).set(`${event.engine} ${event.model}`, event);
  } else if (event.type === "swap") {
    for (const listener of swapListeners) listener(event);
  } else if (event.type === "job" && event.job !== "response") {
    jobs.value = new Map(jobs.value).set(`${event.job} ${event.id}`, event);
    if (event.state === "done") refreshModels().catch(() => {});
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
      else if (error instanceof ApiError && error.status === 403) await withoutEvents();
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

/** A key that may ask models but not hear of the server is shown no states; whether there is a server, it may ask. */
async function withoutEvents() {
  states.value = new Map();
  while (isConnected.value && !needsKey.value) {
    await pause(LOOK_MS);
    if (!document.hidden) await checkConnection();
  }
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

/** How the chat's model is to be loaded, as X-Mlxr-Load has it; empty = as it is set. */
export function chatLoad() {
  const { contextLength } = options.value;
  return contextLength === null ? "" : `context_length=${contextLength}`;
}

/** @param {string} load @returns {Record<string, string>} */
export const loadHeaders = (load) => (load === "" ? {} : { "X-Mlxr-Load": load });

/** Load the chosen model, before it is asked. */
export async function loadChosen() {
  const headers = { "X-Mlxr-Engine": engine.value, ...loadHeaders(chatLoad()) };
  await askJson("/api/generate", { body: { model: model.value, stream: false }, headers });
}

export async function unloadChosen() {
  await askJson("/v1/mlxr/models/stop", { body: { model: model.value } });
}
