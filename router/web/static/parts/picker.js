// Which model answers, on which engine, and where it stands.
import { html, useSignal } from "../vendor/preact.js";
import { friendlyName } from "../lib/format.js";
import { chosen, chosenState, isConnected, loadChosen, models, unloadChosen } from "../core/server.js";
import { engine, loadsAtStart, model } from "../core/settings.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/texts.js";

/** @typedef {import("../core/server.js").ModelStatus} ModelStatus */

/** @param {{state: ModelStatus | null}} props */
export function StateDot({ state }) {
  const word = isConnected.value ? (state?.state ?? "idle") : "offline";
  const text = word === "loading" ? texts.picker.loading(state?.load_fraction ?? 0) : texts.states[word];
  const why = word === "error" || word === "idle" ? [state?.reason, state?.way_out].filter(Boolean).join(" ") : "";
  return html`<span class="state ${word}" title=${why || null}><span class="dot" aria-hidden="true"></span>${text}</span>`;
}

export function Picker() {
  const list = models.value ?? [];
  if (models.value?.length === 0) {
    return html`<p class="picker">${texts.picker.none}. <code>${texts.picker.noneHelp}</code></p>`;
  }
  return html`<div class="picker">
    <select id="model" aria-label=${texts.picker.model} title=${model.value} value=${model.value} onChange=${chooseModel}>
      ${list.map(({ id }) => html`<option key=${id} value=${id}>${friendlyName(id)}</option>`)}
    </select>
    <select aria-label=${texts.engines.label} value=${engine.value} onChange=${chooseEngine}>
      ${["auto", ...(chosen.value?.engines ?? [])].map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select>
    <${StateDot} state=${chosenState.value} />
    <${LoadButton} />
  </div>`;
}

/** @param {Event} event */
function chooseModel(event) {
  model.value = /** @type {any} */ (event.target).value;
  if (!chosen.value?.engines.includes(engine.value)) engine.value = "auto";
}

/** @param {Event} event */
function chooseEngine(event) {
  engine.value = /** @type {any} */ (event.target).value;
}

function LoadButton() {
  const isBusy = useSignal(false);
  const state = chosenState.value?.state ?? "idle";
  const isLoaded = state === "ready" || state === "generating";
  const act = async () => {
    isBusy.value = true;
    if (!isLoaded) announce(texts.status.loading);
    try {
      await (isLoaded ? unloadChosen() : loadChosen());
    } catch (error) {
      complain(error);
    }
    isBusy.value = false;
  };
  const isOff = isBusy.value || !isConnected.value || state === "loading" || state === "generating" || !model.value;
  return html`<button type="button" class="quiet" disabled=${isOff} onClick=${act}>
    ${isLoaded ? texts.picker.unload : texts.picker.load}
  </button>`;
}

export function LoadAtStart() {
  const toggle = () => (loadsAtStart.value = !loadsAtStart.value);
  return html`<label class="inline">
    <input type="checkbox" checked=${loadsAtStart.value} onChange=${toggle} /> ${texts.picker.background}
  </label>`;
}
