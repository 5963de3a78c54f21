// Where one writes to both, and what goes with it.
import { computed, html } from "../vendor/preact.js";
import { AttachButton, Attached } from "../attach/attached.js";
import { Attachments } from "../attach/attachments.js";
import { Composer } from "../parts/composer.js";
import { toEnd } from "../parts/scroll.js";
import { isConnected, models } from "../core/server.js";
import { texts } from "../core/texts.js";
import { loadHeader } from "./sides.js";
import { compare, draft, isBlind, order, running, sides, start, stop } from "./state.js";

/** @typedef {import("./state.js").Place} Place @typedef {import("../attach/attachments.js").Reader} Reader */

/** @param {import("./sides.js").Side} side @param {number} place @returns {Reader} */
function readerOf(side, place) {
  const inForce = models.value?.find(({ id }) => id === side.model)?.context_length ?? null;
  const contextLength = Number(side.load.context_length) || inForce;
  return { model: side.model, engine: side.engine, load: loadHeader(side), contextLength, name: texts.compare.letter(/** @type {Place} */ (place)) };
}

const readers = computed(() => (sides.value ?? []).map(readerOf));
// Who answers first is loaded: counting swaps nothing then. Between two answers it would.
const counter = computed(() => (running.value !== null || order.value === null ? null : readers.value[order.value[0]]));
export const attachments = new Attachments(readers, counter);

export function Prompt() {
  const from = start.value;
  const before = html`
    ${from &&
    html`<p class="row start"><span class="note">${texts.compare.goesOnFrom(from.name)}</span>
      <button type="button" class="quiet" onClick=${() => (start.value = null)}>${texts.compare.anew}</button></p>`}
    <${Attached} attachments=${attachments} />`;
  return html`<${Composer}
    text=${draft} label=${texts.compare.placeholder} hint=${texts.compare.hint(isBlind.value)} isRunning=${running.value !== null}
    canSend=${isConnected.value && sides.value !== null && !attachments.isHeld.value} onSend=${send} onStop=${stop} onPaste=${attachments.onPaste}
    isFull=${attachments.all.value.length > 0} before=${before} beside=${html`<${AttachButton} attachments=${attachments} />`}
  />`;
}

function send() {
  const text = draft.value.trim();
  draft.value = "";
  toEnd();
  compare({ text, ...attachments.take() });
}
