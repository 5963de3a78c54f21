// A button for what takes a while: off while it runs, with the focus still on it, and what went wrong is said.
import { html, useSignal } from "../vendor/preact.js";
import { complain } from "../core/status.js";

/**
 * @param {object} props
 * @param {() => Promise<unknown>} props.act
 * @param {unknown} props.children
 * @param {string} [props.look] Its class.
 * @param {string} [props.label] Where its own words do not say of what it is the button.
 * @param {boolean} [props.isOff]
 * @param {(error: Error) => void} [props.onError] The page complains without it.
 */
export function Act({ act, children, look = "quiet", label, isOff = false, onError = complain }) {
  const isBusy = useSignal(false);
  const go = async () => {
    if (isBusy.value) return;
    isBusy.value = true;
    try {
      await act();
    } catch (error) {
      onError(/** @type {Error} */ (error));
    }
    isBusy.value = false;
  };
  return html`<button type="button" class=${look} aria-label=${label} disabled=${isOff} aria-disabled=${isBusy.value ? "true" : null} onClick=${go}>${children}</button>`;
}
