// What this browser remembers.
import { html, useSignal } from "../vendor/preact.js";
import { LoadAtStart } from "../parts/picker.js";
import { ThemeChoice } from "../parts/theme.js";
import { forgetKey, hasKey, needsKey } from "../core/api.js";
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
      <${ThemeChoice} />
      <span class="note">${words.language}: ${words.english}</span>
    </p>
    <${LoadAtStart} />
    ${hasKey() && !isForgotten.value && html`<p><button type="button" class="quiet" onClick=${forget}>${texts.key.forget}</button></p>`}
  </section>`;
}
