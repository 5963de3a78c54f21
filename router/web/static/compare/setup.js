// Who is compared, and in what they differ.
import { html, useEffect, useSignal } from "../vendor/preact.js";
import { friendlyName } from "../lib/format.js";
import { differences, draftingOf, loadKeysOf } from "./sides.js";
import { ContextField } from "../parts/context.js";
import { Icon } from "../parts/icon.js";
import { StateDot } from "../parts/picker.js";
import { models, states } from "../core/server.js";
import { options } from "../core/settings.js";
import { texts } from "../core/texts.js";
import { learnExpected } from "./expected.js";
import { isBlind, running, setSide, sides, swapSides } from "./state.js";

/** @typedef {import("./state.js").Place} Place */

export function Setup() {
  const pair = sides.value;
  if (!pair) return html`<p class="note">${texts.picker.none}. <code>${texts.picker.noneHelp}</code></p>`;
  return html`<section class="setup" aria-label=${texts.compare.setup}>
    <div class="columns">
      <${SideView} place=${0} />
      <${SideView} place=${1} />
    </div>
    <button type="button" class="plain turn" disabled=${running.value !== null} aria-label=${texts.compare.turn} title=${texts.compare.turn} onClick=${swapSides}><${Icon} name="turn" /></button>
    <${Differences} />
  </section>`;
}

/** @param {{place: Place}} props */
function SideView({ place }) {
  const side = /** @type {import("./state.js").Side} */ (sides.value?.[place]);
  const isOff = running.value !== null;
  const isOpen = useSignal(false);
  useEffect(() => void learnExpected(side.model), [side.model]);
  const engines = models.value?.find((each) => each.id === side.model)?.engines ?? [];
  /** @param {"model" | "engine"} name */
  const change = (name) => (/** @type {any} */ event) => setSide(place, { [name]: event.target.value });
  return html`<fieldset class="side-of" disabled=${isOff}>
    <legend>${texts.compare.letter(place)}</legend>
    <p class="row wrap">
      <select aria-label=${texts.picker.model} title=${side.model} value=${side.model} onChange=${change("model")}>
        ${models.value?.map(({ id }) => html`<option key=${id} value=${id}>${friendlyName(id)}</option>`)}
      </select>
      <select aria-label=${texts.engines.label} value=${side.engine} onChange=${change("engine")}>
        ${engines.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select>
      <${StateDot} state=${states.value.get(`${side.engine} ${side.model}`) ?? null} />
    </p>
    <details class="load" onToggle=${(/** @type {any} */ event) => (isOpen.value = event.target.open)}>
      <summary>${texts.compare.loadedWith}</summary>
      ${isOpen.value &&
      html`<div class="row wrap">
        ${loadKeysOf(side.engine).map((key) => html`<${LoadField} key=${key} name=${key} place=${place} />`)}
        <${DraftingField} place=${place} />
      </div>`}
    </details>
  </fieldset>`;
}

const CACHE_TYPES = ["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"];

/** @param {{name: string, place: Place}} props */
function LoadField({ name, place }) {
  const side = /** @type {import("./state.js").Side} */ (sides.value?.[place]);
  const label = texts.compare.differs[name];
  const value = side.load[name] ?? "";
  /** @param {any} event */
  const set = ({ target }) => {
    if (target.validity.valid) setSide(place, { load: { ...side.load, [name]: target.value } });
  };
  if (name === "context_length") {
    /** @param {number | null} length */
    const setLength = (length) => setSide(place, { load: { ...side.load, [name]: length === null ? "" : String(length) } });
    return html`<${ContextField} model=${side.model} engine=${side.engine} value=${value === "" ? null : Number(value)} onChange=${setLength} />`;
  }
  if (name === "threads") {
    return html`<label>${label}<input type="number" min="1" max="1024" step="1" placeholder=${texts.options.unset} value=${value} onChange=${set} /></label>`;
  }
  return html`<${Choice} label=${label} value=${value} choices=${CACHE_TYPES} onChange=${(/** @type {string} */ type) => setSide(place, { load: { ...side.load, [name]: type } })} />`;
}

/** @param {{place: Place}} props */
function DraftingField({ place }) {
  const side = /** @type {import("./state.js").Side} */ (sides.value?.[place]);
  const { ways, draft } = draftingOf(side, models.value ?? []);
  const set = (/** @type {string} */ speculation) => setSide(place, { speculation });
  return html`<div><${Choice} label=${texts.compare.differs.speculation} value=${side.speculation} choices=${ways} onChange=${set} />
    ${draft && html`<span class="note">${texts.compare.drafts(friendlyName(draft))}</span>`}</div>`;
}

/** @param {{label: string, value: string, choices: string[], onChange: (value: string) => void}} props */
function Choice({ label, value, choices, onChange }) {
  return html`<label>${label}
    <select aria-label=${label} value=${value} onChange=${(/** @type {any} */ event) => onChange(event.target.value)}>
      <option value="">${texts.options.unset}</option>
      ${choices.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
    </select>
  </label>`;
}

function Differences() {
  const pair = sides.value;
  if (!pair) return null;
  const found = differences(pair, models.value ?? []);
  const { temperature, system, seed } = options.value;
  return html`<div class="differences">
    ${found.length === 0 && html`<p class="note">${texts.compare.same}</p>`}
    ${found.length > 0 &&
    html`<dl aria-label=${texts.compare.differences}>
      ${found.map(
        ({ what, values }) => html`<div><dt>${texts.compare.differs[what]}</dt>
          ${values.map((value, place) => html`<dd><span class="letter">${texts.compare.letter(/** @type {Place} */ (place))}</span> ${shown(what, value)}</dd>`)}</div>`,
      )}
    </dl>`}
    <p class="note">${texts.compare.alike(temperature, seed, system !== "")} ${isBlind.value && texts.compare.blindHelp}</p>
  </div>`;
}

/** @param {string} what @param {string} value */
const shown = (what, value) => (value === "" ? texts.options.unset : what === "model" ? friendlyName(value) : value);
