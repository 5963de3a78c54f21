// One key of a config or of a model's settings: what it does, what it is, and its value to change, which the server checks.
import { html, useId, useSignal } from "../vendor/preact.js";
import { choicesOf, inputOf, inWords, said, textOf, valueOf } from "./values.js";
import { announce } from "../core/status.js";
import { texts } from "../core/texts.js";

/**
 * @typedef {import("./values.js").Field} Field
 * @typedef {import("./values.js").Value} Value
 */

/**
 * @param {object} props
 * @param {Field} props.field
 * @param {Value} props.value That is set; where none is, `otherwise` counts.
 * @param {Value} props.otherwise
 * @param {boolean} props.isSet
 * @param {unknown} [props.notes] Stands under what it does.
 * @param {(value: Value) => Promise<unknown>} props.onSet
 * @param {() => Promise<unknown>} props.onUnset
 */
export function FieldForm({ field, value, otherwise, isSet, notes, onSet, onUnset }) {
  const id = useId();
  const text = textOf(isSet ? value : otherwise);
  const typed = useSignal(/** @type {string | null} */ (null));
  const error = useSignal("");
  const isBusy = useSignal(false);
  const shown = typed.value ?? text;
  /** @param {() => Promise<unknown>} act */
  const doing = async (act) => {
    isBusy.value = true;
    try {
      await act();
      error.value = "";
      typed.value = null;
      announce(texts.field.saved(field.key));
      document.getElementById(id)?.focus(); // the button that was pressed goes
    } catch (thrown) {
      error.value = /** @type {Error} */ (thrown).message;
    }
    isBusy.value = false;
  };
  /** @param {Event} event */
  const submit = (event) => {
    event.preventDefault();
    if (typed.value !== null) doing(() => onSet(valueOf(field, typed.value ?? "")));
  };
  const words = inWords(field.unit, valueOf(field, shown));
  return html`<form class="field" onSubmit=${submit}>
    <div>
      <label for=${id}><code>${field.key}</code></label>
      <p id=${`${id}-what`}>${field.what}</p>
      <p class="note">${field.takes && html`${texts.field.takes(field.takes)} `}${texts.field.otherwise(said(field.unit, otherwise))} ${notes}</p>
    </div>
    <div>
      <p class="row"><${Input} id=${id} field=${field} text=${shown} hasError=${error.value !== ""} onInput=${(/** @type {string} */ next) => (typed.value = next === text ? null : next)} />
        ${field.unit && html`<span class="note">${field.unit}</span>`}</p>
      ${words && html`<p class="note">${words}</p>`}
      ${error.value && html`<p id=${`${id}-error`} class="error" role="alert">${error.value}</p>`}
      <p class="row">
        ${typed.value !== null && html`<button type="submit" disabled=${isBusy.value}>${texts.field.save}</button>
          <button type="button" class="quiet" onClick=${() => ((typed.value = null), (error.value = ""))}>${texts.field.back}</button>`}
        ${isSet && typed.value === null && html`<button type="button" class="quiet" disabled=${isBusy.value} aria-label=${texts.field.unsetOf(field.key)} onClick=${() => doing(onUnset)}>${texts.field.unset}</button>`}
      </p>
    </div>
  </form>`;
}

/** @param {{id: string, field: Field, text: string, hasError: boolean, onInput: (text: string) => void}} props */
function Input({ id, field, text, hasError, onInput }) {
  const input = (/** @type {any} */ event) => onInput(event.target.value);
  const said = { id, "aria-describedby": hasError ? `${id}-what ${id}-error` : `${id}-what`, "aria-invalid": hasError ? "true" : null };
  const kind = inputOf(field);
  if (kind === "lines") return html`<textarea ...${said} rows="2" spellcheck=${false} value=${text} onInput=${input}></textarea>`;
  const choices = choicesOf(field);
  if (kind === "choice") {
    return html`<select ...${said} value=${text} onChange=${input}>
      ${(field.is_nullable || text === "") && html`<option value="">${texts.field.none}</option>`}
      ${choices.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
    </select>`;
  }
  return html`<input ...${said} type="text" inputmode=${["integer", "number"].includes(field.kind) && choices.length === 0 ? "decimal" : null} autocomplete="off" spellcheck=${false}
    placeholder=${field.is_nullable ? texts.field.none : null} list=${choices.length > 0 ? `${id}-choices` : null} value=${text} onInput=${input} />
    ${choices.length > 0 && html`<datalist id=${`${id}-choices`}>${choices.map((each) => html`<option value=${each}></option>`)}</datalist>`}`;
}
