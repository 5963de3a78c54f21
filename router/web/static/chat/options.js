// System prompt and sampling of the chat. What is left empty is the model's own.
import { html, useSignal } from "../vendor/preact.js";
import { LoadAtStart } from "../parts/picker.js";
import { ContextField } from "../parts/context.js";
import { Dialog } from "../parts/dialog.js";
import { engine, model, options } from "../core/settings.js";
import { texts } from "../core/texts.js";
import { Presets } from "./presets.js";

/**
 * @typedef {import("../core/settings.js").ChatOptions} ChatOptions
 * @typedef {{name: Exclude<keyof ChatOptions, "system" | "contextLength">, label: string, min: number, max: number, step: string}} Field
 */

/** @type {Field[]} */
const FIELDS = [
  { name: "temperature", label: texts.options.temperature, min: 0, max: 2, step: "0.05" },
  { name: "topP", label: texts.options.topP, min: 0, max: 1, step: "0.05" },
  { name: "maxTokens", label: texts.options.maxTokens, min: 1, max: 1_000_000, step: "1" },
  { name: "seed", label: texts.options.seed, min: 0, max: 2 ** 32 - 1, step: "1" },
];

/** @param {{isOpen: boolean, onClose: () => void, ofBoth?: boolean}} props `ofBoth`: of two that are compared, each with its own load. */
export function OptionsDialog({ isOpen, onClose, ofBoth = false }) {
  return html`<${Dialog} title=${ofBoth ? texts.compare.settings : texts.chat.settings} isOpen=${isOpen} onClose=${onClose}>
    <form method="dialog" class="fields">
      <${Presets} />
      <label>${texts.options.system}
        <textarea rows="4" placeholder=${texts.options.unset} value=${options.value.system} onInput=${setSystem}></textarea>
      </label>
      <div class="pairs">${FIELDS.map((field) => html`<${NumberField} key=${field.name} field=${field} />`)}</div>
      ${!ofBoth && html`<${ContextField} model=${model.value} engine=${engine.value} value=${options.value.contextLength} onChange=${setContext} />
        <${LoadAtStart} />`}
      <p class="row"><button type="button" onClick=${onClose}>${texts.options.close}</button></p>
    </form>
  <//>`;
}

/** @param {Event} event */
function setSystem(event) {
  options.value = { ...options.value, system: /** @type {any} */ (event.target).value };
}

/** @param {number | null} contextLength */
function setContext(contextLength) {
  options.value = { ...options.value, contextLength };
}

/** @param {{field: Field}} props */
function NumberField({ field }) {
  const error = useSignal("");
  /** @param {Event} event */
  const change = (event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    error.value = input.validity.valid ? "" : texts.options.invalid;
    if (input.validity.valid) options.value = { ...options.value, [field.name]: input.value === "" ? null : input.valueAsNumber };
  };
  return html`<label>${field.label}
    <input type="number" min=${field.min} max=${field.max} step=${field.step} placeholder=${texts.options.unset}
      value=${options.value[field.name] ?? ""} onChange=${change} />
    ${error.value && html`<span class="error" role="alert">${error.value}</span>`}
  </label>`;
}
