// How long loads will take, by what benchmarks have measured of them.
import { signal } from "../vendor/preact.js";
import { askJson } from "../core/api.js";

/** Seconds by `engine model`. */
const expected = signal(/** @type {Map<string, number>} */ (new Map()));

/** @param {string} model */
export async function learnExpected(model) {
  try {
    /** @type {import("../../types/api.js").components["schemas"]["mlxr.Explanation"]} */
    const { engines } = await askJson(`/v1/mlxr/engine/explain?model=${encodeURIComponent(model)}`);
    const learned = new Map(expected.value);
    for (const { engine, load_s } of engines) if (load_s) learned.set(`${engine} ${model}`, load_s);
    expected.value = learned;
  } catch {
    // It is only an expectation; who may not ask has none.
  }
}

/** In ms; null = nobody has measured it. @param {import("./state.js").Side} side */
export function expectedLoad({ engine, model }) {
  const seconds = expected.value.get(`${engine} ${model}`);
  return seconds === undefined ? null : seconds * 1000;
}
