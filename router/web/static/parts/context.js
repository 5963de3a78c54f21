// How many tokens a conversation may take, as far as the model and the memory hold them.
import { html } from "../vendor/preact.js";
import { count } from "../lib/format.js";
import { contextChoices } from "../core/fit.js";
import { models } from "../core/server.js";
import { texts } from "../core/texts.js";

/**
 * @param {{model: string, engine: string, value: number | null, onChange: (value: number | null) => void}} props
 */
export function ContextField({ model, engine, value, onChange }) {
  const found = models.value?.find((each) => each.id === model) ?? null;
  const { choices, fitting } = contextChoices(found, engine);
  const all = value === null || choices.includes(value) ? choices : [...choices, value].sort((a, b) => a - b);
  /** @param {any} event */
  const set = ({ target }) => onChange(target.value === "" ? null : Number(target.value));
  return html`<label>${texts.context.label}
    <select aria-label=${texts.context.label} value=${value ?? ""} onChange=${set}>
      <option value="">${texts.context.own(found?.context_length ? count(found.context_length) : null)}</option>
      ${all.map((each) => html`<option key=${each} value=${each}>${texts.context.tokens(count(each))}</option>`)}
    </select>
    ${fitting !== null && html`<span class="note">${texts.context.fits(count(fitting))}</span>`}
  </label>`;
}
