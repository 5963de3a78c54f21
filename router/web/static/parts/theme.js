// The choice of colours.
import { html } from "../vendor/preact.js";
import { theme } from "../core/settings.js";
import { texts } from "../core/texts.js";

const THEMES = /** @type {const} */ (["system", "light", "dark"]);

export function ThemeChoice() {
  return html`<label>${texts.theme.label}
    <select value=${theme.value} onChange=${(/** @type {any} */ event) => (theme.value = event.target.value)}>
      ${THEMES.map((each) => html`<option key=${each} value=${each}>${texts.theme[each]}</option>`)}
    </select>
  </label>`;
}
