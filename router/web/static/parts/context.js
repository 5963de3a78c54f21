// How many tokens a conversation may take, as far as the model and the memory hold them.
import { html, useEffect } from "../vendor/preact.js";
import { count } from "../lib/format.js";
import { contextChoices, learnFit } from "../core/fit.js";
import { models } from "../core/server.js";
import { texts } from "../core/texts.js";

/**
 * @param {{model: string, engine: string, value: number | null, onChange: (value: number | null) => void}} props
 */
export function ContextField({ model, engine, value, onChange }) {
  const found = models.value?.find((each) => each.id === model) ?? null;
  useEffect(() => void (found && learnFit(found)), [found?.id]);
  const { choices, fitting } = contextChoices(found, engine);
  const all = value === null || choices.includes(value) ? choices : [...choices, value].sort((a, b) => a - b);
  const isLimited = fitting !== null && fitting < (found?.max_context_length ?? Infinity);
  /** @param {any} event */
  const set = ({ target }) => onChange(target.value === "" ? null : Number(target.value));
  return html`<label>${texts.context.label}
    <select aria-label=${texts.context.label} value=${value ?? ""} onChange=${set}>
      <option value="">${texts.context.own(found?.context_length ? count(found.context_length) : null)}</option>
      ${all.map((each) => html`<option key=${each} value=${each}>${texts.context.tokens(count(each))}</option>`)}
    </select>
    <span class="note">${isLimited && texts.context.fits(count(/** @type {number} */ (fitting)))}${texts.context.anew}</span>
  </label>`;
}
