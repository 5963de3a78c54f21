// Getting a model: looked for on the hub, or named.
import { html, useSignal } from "../vendor/preact.js";
import { bytes, count } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Trouble } from "../sheet/asked.js";
import { askJson } from "../core/api.js";
import { announce } from "../core/status.js";
import { texts } from "../core/page_texts.js";
import { pull } from "./pulls.js";

/**
 * @typedef {import("../core/server.js").Schemas["mlxr.HubModels"]} Found
 * @typedef {import("../core/server.js").Schemas["mlxr.HubModel"]} HubModel
 * @typedef {import("../core/server.js").Schemas["mlxr.HubChoice"]} Choice
 */

const LIMIT = 12;

export function Get() {
  const text = useSignal("");
  const found = useSignal(/** @type {Found | null} */ (null));
  const error = useSignal(/** @type {Error | null} */ (null));
  const asked = useSignal(0);
  const search = async () => {
    const turn = (asked.value += 1);
    error.value = null;
    const answer = await askJson(`/v1/mlxr/hub/search?${new URLSearchParams({ q: text.value.trim(), limit: String(LIMIT) })}`);
    if (turn !== asked.value) return; // another search has begun
    found.value = answer;
    announce(texts.get.found(answer.models.length));
  };
  /** @param {Error} thrown */
  const fail = (thrown) => (error.value = thrown);
  /** @param {Event} event */
  const submit = (event) => {
    event.preventDefault();
    if (text.value.trim()) search().catch(fail);
  };
  const isEmpty = text.value.trim() === "";
  return html`<section aria-label=${texts.get.title}>
    <h2>${texts.get.title}</h2>
    <form class="row wrap get" role="search" onSubmit=${submit}>
      <label class="unseen" for="get">${texts.get.label}</label>
      <input id="get" type="text" autocomplete="off" spellcheck=${false} placeholder=${texts.get.placeholder} aria-describedby="get-help" value=${text.value}
        onInput=${(/** @type {any} */ event) => (text.value = event.target.value)} />
      <button type="submit" disabled=${isEmpty}>${texts.get.search}</button>
      <${Act} act=${() => pull({ reference: text.value.trim() })} isOff=${isEmpty} onError=${fail}>${texts.get.pull}<//>
    </form>
    <p id="get-help" class="note">${texts.get.help}</p>
    <${Trouble} error=${error.value} />
    ${found.value && html`<${Hits} found=${found.value} onClose=${() => (found.value = null)} />`}
  </section>`;
}

/** @param {{found: Found, onClose: () => void}} props */
function Hits({ found, onClose }) {
  return html`
    <p class="row"><span class="note">${found.models.length === 0 ? texts.get.nothing : texts.get.budget(bytes(found.weights_budget_bytes))}</span>
      <button type="button" class="quiet" onClick=${onClose}>${texts.get.close}</button></p>
    <ul class="rows">${found.models.map((each) => html`<${Hit} key=${each.name} hit=${each} />`)}</ul>`;
}

/** @param {{hit: HubModel}} props */
function Hit({ hit }) {
  const notes = [
    hit.downloads === null ? null : texts.get.downloads(count(hit.downloads)),
    hit.is_gated ? texts.get.gated : null,
    hit.fits === false ? texts.get.tooLarge : null,
  ];
  return html`<li>
    <p><strong>${hit.name}</strong> <span class="note">${notes.filter(Boolean).join(", ")}</span></p>
    ${hit.choices.length === 0
      ? html`<p class="note">${texts.get.noChoices}</p>`
      : html`<p class="row wrap">${hit.choices.map((each) => html`<${ChoiceButton} key=${`${each.engine} ${each.quantization}`} name=${hit.name} choice=${each} />`)}</p>`}
  </li>`;
}

/** @param {{name: string, choice: Choice}} props */
function ChoiceButton({ name, choice }) {
  const { engine, quantization, size_bytes: size, fits } = choice;
  const form = quantization ?? texts.forms[engine];
  const reference = quantization === null ? name : `${name}:${quantization}`;
  const label = texts.get.pullOf(name, form, bytes(size), fits);
  return html`<${Act} look=${fits ? "quiet" : "quiet faint"} label=${label} act=${() => pull({ reference, engine })}>${form} <span class="note">${bytes(size)}${fits ? "" : ` ${texts.get.tooLarge}`}</span><//>`;
}
