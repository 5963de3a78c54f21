// The two that a prompt is asked of: who they are, in what they differ, and who answers first. Pure.
import { bytes } from "../lib/format.js";

/**
 * @typedef {import("../core/server.js").Model} Model
 * @typedef {import("../core/server.js").ModelStatus} ModelStatus
 * @typedef {{model: string, engine: string, load: Record<string, string>, speculation: string}} Side `load`: settings of the load by their names
 *   in X-Mlxr-Load; `speculation`: as in X-Mlxr-Speculation. Empty = as it is set.
 * @typedef {0 | 1} Place
 * @typedef {{what: "model" | "engine" | "weights" | "adapter" | string, values: [string, string]}} Difference
 */

/** How the load of a side is set, in the order in which it is shown; what an engine lacks is left out of its loads. */
export const LOAD_KEYS = /** @type {const} */ (["context_length", "threads", "kv_type"]);
const LLAMACPP_ONLY = new Set(["threads", "kv_type"]);

/** How tokens may be drafted for a side; a draft model is loaded on llamacpp only, where the model has one. @param {Side} side @param {Model[]} models */
export function draftingOf({ model, engine }, models) {
  const draft = engine === "llamacpp" ? models.find((each) => each.id === model)?.draft : null;
  return { ways: ["auto", "lookup", ...(draft ? ["draft"] : []), "off"], draft };
}

/** @param {string} engine */
export const loadKeysOf = (engine) => LOAD_KEYS.filter((key) => engine === "llamacpp" || !LLAMACPP_ONLY.has(key));

/** @param {Side} side */
function loadPairs({ engine, load }) {
  return loadKeysOf(engine).flatMap((key) => (load[key] ? [`${key}=${load[key]}`] : []));
}

/** As the header X-Mlxr-Load has it; empty without settings. @param {Side} side */
export const loadHeader = (side) => loadPairs(side).join(", ");

/** As `mlxr bench` names it. @param {Side} side */
export function contestant(side) {
  const drafts = side.speculation ? [`speculation=${side.speculation}`] : [];
  return [`${side.model}@${side.engine}`, ...loadPairs(side), ...drafts].join(" ");
}

/**
 * The sides, as far as they were chosen and are still there: otherwise both engines of a model, or two models.
 *
 * @param {[Side, Side] | null} chosen @param {Model[]} models @param {string} name Of the model to begin with.
 * @returns {[Side, Side] | null} null = there is no model.
 */
export function fittingSides(chosen, models, name) {
  const usable = models.filter((each) => each.engines.length > 0);
  const first = usable.find((each) => each.id === name) ?? usable[0];
  if (!first) return null;
  const second = first.engines.length > 1 ? first : (usable.find((each) => each.id !== first.id) ?? first);
  /** @type {[Side, Side]} */
  const usual = [
    { model: first.id, engine: first.engines[0], load: {}, speculation: "" },
    { model: second.id, engine: second.engines.at(-1) ?? "", load: {}, speculation: "" },
  ];
  const [a, b] = usual.map((each, place) => fitting(chosen?.[place], usable) ?? each);
  return [a, b];
}

/** @param {Side | undefined} side @param {Model[]} models @returns {Side | null} */
function fitting(side, models) {
  const model = models.find((each) => each.id === side?.model);
  if (!side || !model) return null;
  const engine = model.engines.includes(side.engine) ? side.engine : model.engines[0];
  const fitted = { ...side, engine };
  return { ...fitted, speculation: draftingOf(fitted, models).ways.includes(side.speculation) ? side.speculation : "" };
}

/**
 * In what the sides differ, and what may make their answers or speeds differ.
 *
 * @param {[Side, Side]} sides @param {Model[]} models @returns {Difference[]}
 */
export function differences(sides, models) {
  /** @type {Difference[]} */
  const found = [];
  /** @param {string} what @param {(side: Side) => string} of */
  const put = (what, of) => {
    const values = /** @type {[string, string]} */ (sides.map(of));
    if (values[0] !== values[1]) found.push({ what, values });
  };
  put("model", (side) => side.model);
  put("engine", (side) => side.engine);
  put("weights", (side) => weights(side, models));
  for (const key of LOAD_KEYS) put(key, (side) => (loadKeysOf(side.engine).includes(key) && side.load[key]) || "");
  put("speculation", (side) => drafted(side, models));
  return found;
}

/** @param {Side} side @param {Model[]} models */
function drafted(side, models) {
  const { draft } = draftingOf(side, models);
  return side.speculation === "draft" && draft ? `draft (${draft})` : side.speculation;
}

/** @param {Side} side @param {Model[]} models */
function weights(side, models) {
  const form = models.find((each) => each.id === side.model)?.forms.find((each) => each.engine === side.engine);
  if (!form) return "";
  const bits = form.bits_per_weight === null ? "" : `${form.bits_per_weight.toFixed(1)} bits per weight, `;
  return `${form.quantization ?? "?"}, ${bits}${bytes(form.weight_bytes)}`;
}

/** @param {Side} side @param {Map<string, ModelStatus>} states */
export function isResident(side, states) {
  return ["ready", "generating"].includes(states.get(`${side.engine} ${side.model}`)?.state ?? "");
}

/**
 * Who is asked first: who needs no load. Where that says nothing, who was asked last: so the order alternates.
 *
 * @param {[Side, Side]} sides @param {Map<string, ModelStatus>} states @param {Place | null} last
 * @returns {[Place, Place]}
 */
export function orderOf(sides, states, last) {
  const [a, b] = sides.map((side) => isResident(side, states));
  const first = a === b ? (last ?? 0) : a ? 0 : 1;
  return first === 0 ? [0, 1] : [1, 0];
}
