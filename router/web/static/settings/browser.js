// What this browser remembers.
import { html, useSignal } from "../vendor/preact.js";
import { LoadAtStart } from "../parts/picker.js";
import { forgetKey, hasKey, needsKey } from "../core/api.js";
import { theme } from "../core/settings.js";
import { texts } from "../core/page_texts.js";

export function Browser() {
  const words = texts.settings;
  const isForgotten = useSignal(false);
  const forget = () => {
    forgetKey();
    isForgotten.value = true;
    needsKey.value = true;
  };
  return html`<section aria-label=${words.browser}>
    <h2>${words.browser}</h2>
    <p class="row wrap ends">
      <label>${texts.theme.label}
        <select value=${theme.value} onChange=${(/** @type {any} */ event) => (theme.value = event.target.value)}>
          ${/** @type {const} */ (["system", "light", "dark"]).map((each) => html`<option value=${each}>${texts.theme[each]}</option>`)}
        </select></label>
      <span class="note">${words.language}: ${words.english}</span>
    </p>
    <${LoadAtStart} />
    ${hasKey() && !isForgotten.value && html`<p><button type="button" class="quiet" onClick=${forget}>${texts.key.forget}</button></p>`}
  </section>`;
}
