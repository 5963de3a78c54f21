// What the browser remembers: colours, the last model. One signal each, kept in localStorage.
import { effect, signal } from "../vendor/preact.js";

/**
 * A signal whose value outlives the page.
 *
 * @template T
 * @param {string} name
 * @param {T} initial
 * @returns {import("../vendor/preact.js").Signal<T>}
 */
export function kept(name, initial) {
  const key = `mlxr.${name}`;
  const value = signal(initial);
  try {
    const stored = localStorage.getItem(key);
    if (stored !== null) value.value = JSON.parse(stored);
  } catch {
    // A browser that keeps nothing still shows the page.
  }
  effect(() => {
    const text = JSON.stringify(value.value);
    try {
      localStorage.setItem(key, text);
    } catch {
      // As above.
    }
  });
  return value;
}

/** @typedef {{system: string, temperature: number | null, topP: number | null, maxTokens: number | null, seed: number | null,
 *   contextLength: number | null}} ChatOptions `contextLength` in tokens; null is the model's own of everything. */

/** @type {import("../vendor/preact.js").Signal<"system" | "light" | "dark">} */
export const theme = kept("theme", "system");
export const model = kept("model", "");
export const engine = kept("engine", "auto");
export const loadsAtStart = kept("loads-at-start", false);
export const draft = kept("draft", "");
/** @type {import("../vendor/preact.js").Signal<ChatOptions>} */
export const options = kept("chat-options", { system: "", temperature: null, topP: null, maxTokens: null, seed: null, contextLength: null });
// As an earlier page kept them.
if (options.value.contextLength === undefined) options.value = { ...options.value, contextLength: null };

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
