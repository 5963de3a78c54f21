// Where one writes to the model.
import { computed, html } from "../vendor/preact.js";
import { AttachButton, Attached } from "../attach/attached.js";
import { Attachments } from "../attach/attachments.js";
import { Composer } from "../parts/composer.js";
import { chatLoad, chosen, isConnected } from "../core/server.js";
import { draft, engine, model, options } from "../core/settings.js";
import { texts } from "../core/texts.js";
import { editing } from "./editing.js";
import { toEnd } from "../parts/scroll.js";
import { isIncognito, running, say, shown, stop } from "./state.js";

const reader = computed(() => chosen.value && { model: model.value, engine: engine.value, load: chatLoad(), contextLength: options.value.contextLength ?? chosen.value.context_length });
export const attachments = new Attachments(computed(() => (reader.value ? [reader.value] : [])), reader);

export function ChatComposer() {
  const isRunning = running.value !== null;
  return html`<${Composer}
    text=${draft} label=${texts.chat.placeholder} isRunning=${isRunning} canSend=${isConnected.value && model.value !== "" && !attachments.isHeld.value}
    hint=${html`${texts.chat.hint}. ${isIncognito.value && texts.chat.memoryOnly}`} onSend=${send} onStop=${stop} onKey=${editLast}
    onPaste=${attachments.onPaste} isFull=${attachments.all.value.length > 0} before=${html`<${Attached} attachments=${attachments} />`}
    beside=${html`<${AttachButton} attachments=${attachments} />`}
  />`;
}

function send() {
  const text = draft.value.trim();
  draft.value = "";
  toEnd();
  say({ text, ...attachments.take() });
}

/** @param {KeyboardEvent} event */
function editLast(event) {
  if (event.key !== "ArrowUp" || draft.value !== "" || running.value) return;
  const last = shown.value.findLast((each) => each.role === "user");
  if (!last) return;
  event.preventDefault();
  editing.value = last.id;
}
