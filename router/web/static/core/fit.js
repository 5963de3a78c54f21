// How long a context fits on this machine, by engine and model. Who may not ask is offered what the model was made for.
import { signal } from "../vendor/preact.js";
import { askJson } from "./api.js";

/** Tokens by `engine model`; null = it does not fit with any. */
const largest = signal(/** @type {Map<string, number | null>} */ (new Map()));
const CONTEXTS = [2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072];

/** @param {import("./server.js").Model} model */
export async function learnFit({ id, max_context_length }) {
  if (max_context_length === null) return;
  const wanted = Math.min(max_context_length, /** @type {number} */ (CONTEXTS.at(-1)));
  try {
    const { models } = await askJson(`/v1/mlxr/models/fit?model=${encodeURIComponent(id)}&context_length=${wanted}`);
    const learned = new Map(largest.value);
    for (const { engines } of models) for (const each of engines) learned.set(`${each.engine} ${id}`, each.largest_context);
    largest.value = learned;
  } catch {
    // Then the server says at the load what fits.
  }
}

/**
 * The contexts to offer, in tokens: what the model was made for and, as far as is known, what fits.
 *
 * @param {import("./server.js").Model | null} model @param {string} engine Or `auto`: then what fits on any.
 */
export function contextChoices(model, engine) {
  if (!model) return { choices: [], fitting: null };
  const engines = engine === "auto" ? model.engines : [engine];
  const known = engines.map((each) => largest.value.get(`${each} ${model.id}`)).filter((each) => each !== undefined);
  const fitting = known.length === engines.length ? Math.max(...known.map((each) => each ?? 0)) : null;
  const most = Math.min(model.max_context_length ?? Infinity, fitting ?? Infinity);
  const choices = CONTEXTS.filter((each) => each <= most);
  // What the model was made for need not be a power of two.
  const own = model.max_context_length;
  if (own !== null && own <= most && own < 131_072 && !choices.includes(own)) choices.push(own);
  return { choices, fitting };
}
