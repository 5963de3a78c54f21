// The one region in which the page speaks to those who do not see it, and shows what went wrong.
import { signal } from "../vendor/preact.js";

export const spoken = signal("");
/** @type {import("../vendor/preact.js").Signal<string | null>} */
export const alert = signal(null);

/** @param {string} text */
export function announce(text) {
  spoken.value = text;
}

/** @param {unknown} error */
export function complain(error) {
  alert.value = error instanceof Error ? error.message : String(error);
}
