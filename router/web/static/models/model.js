// One model: its forms, whether it fits, where it stands, and what can be done with it.
import { html, useSignal } from "../vendor/preact.js";
import { bytes, count, friendlyName } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Icon } from "../parts/icon.js";
import { StateDot } from "../parts/picker.js";
import { askJson } from "../core/api.js";
import { goTo, ROOT } from "../core/route.js";
import { states } from "../core/server.js";
import { engine as chosenEngine, model as chosenModel } from "../core/settings.js";
import { announce } from "../core/status.js";
import { texts } from "../core/page_texts.js";
import { More } from "./more.js";

/**
 * @typedef {import("../core/server.js").Model} Model
 * @typedef {import("../core/server.js").Schemas["mlxr.ModelFit"]} Fit
 * @typedef {Fit["engines"][number]} EngineFit
 */

/** @param {{model: Model, fit: Fit | null}} props */
export function ModelRow({ model, fit }) {
  const isOpen = useSignal(false);
  const told = [...states.value.values()].filter((each) => each.model === model.id || each.model.startsWith(`${model.id}+`));
  const now = told.find(({ state }) => state !== "idle") ?? told[0] ?? null;
  return html`<li class="card">
    <div class="row wrap">
      <h3>${friendlyName(model.id)} <span class="note">${model.id}</span></h3>
      <${StateDot} state=${now} />
    </div>
    ${now?.state === "error" && html`<p class="error">${now.reason} ${now.way_out}</p>`}
    <ul class="facts">
      ${model.forms.map((form) => html`<li key=${form.engine}><${Form} form=${form} fit=${fit?.engines.find(({ engine }) => engine === form.engine) ?? null} /></li>`)}
      <li>${contextOf(model)}</li>
      <li>${model.capabilities.map((each) => texts.capabilities[each] ?? each).join(", ")}</li>
    </ul>
    ${model.tags.length > 0 && html`<p class="note">${texts.models.tags(model.tags)}</p>`}
    ${model.aliases.length > 0 && html`<p class="note">${texts.models.aliases(model.aliases)}</p>`}
    <p class="row wrap">
      <${Loading} model=${model} now=${now} />
      <button type="button" class="quiet" aria-label=${texts.models.chatWith(model.id)} onClick=${() => chat(model.id)}>${texts.models.chat}</button>
      <button type="button" class="quiet" aria-expanded=${isOpen.value} aria-label=${texts.models.moreOf(model.id)} onClick=${() => (isOpen.value = !isOpen.value)}>
        ${texts.models.more} <${Icon} name=${isOpen.value ? "close" : "tune"} /></button>
    </p>
    ${isOpen.value && html`<${More} model=${model} fit=${fit} />`}
  </li>`;
}

/** @param {Model} model */
function contextOf({ context_length: now, max_context_length: most }) {
  if (now === null || now === most) return most === null ? texts.models.noContext : texts.models.context(count(most));
  return texts.models.contextOf(count(now), most === null ? null : count(most));
}

/** @param {{form: Model["forms"][number], fit: EngineFit | null}} props */
function Form({ form, fit }) {
  const name = [texts.forms[form.engine], form.quantization].filter(Boolean).join(" ");
  const size = form.weight_bytes === null ? null : bytes(form.weight_bytes);
  const word = fit === null ? null : fit.fits ? texts.models.fits : texts.models.tooLarge;
  return html`${[name, size].filter(Boolean).join(", ")}${word && html` <span class=${fit?.fits ? "good" : "bad"}>${word}</span>`}`;
}

/** @param {{model: Model, now: import("../core/server.js").ModelStatus | null}} props */
function Loading({ model, now }) {
  const engine = useSignal("auto");
  const isLoaded = now !== null && ["ready", "generating"].includes(now.state);
  const isBusy = now !== null && ["loading", "draining"].includes(now.state);
  const load = async () => {
    announce(texts.models.loading(model.id));
    await askJson("/api/generate", { body: { model: model.id, stream: false }, headers: { "X-Mlxr-Engine": engine.value } });
  };
  const unload = () => askJson("/v1/mlxr/models/stop", { body: { model: now?.model ?? model.id } });
  if (isLoaded) return html`<${Act} act=${unload} label=${texts.models.unloadOf(model.id, now.engine)}>${texts.models.unload}<//><span class="note">${now.engine}</span>`;
  return html`
    <${Act} act=${load} look="" isOff=${isBusy} label=${texts.models.loadOf(model.id)}>${texts.models.load}<//>
    ${model.engines.length > 1 &&
    html`<select aria-label=${texts.models.engineOf(model.id)} value=${engine.value} onChange=${(/** @type {any} */ event) => (engine.value = event.target.value)}>
      ${["auto", ...model.engines].map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
    </select>`}`;
}

/** @param {string} id */
function chat(id) {
  chosenModel.value = id;
  chosenEngine.value = "auto";
  goTo(ROOT);
}
