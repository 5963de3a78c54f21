// Where one writes to the model.
import { html } from "../vendor/preact.js";
import { Composer } from "../parts/composer.js";
import { isConnected } from "../core/server.js";
import { draft, model } from "../core/settings.js";
import { texts } from "../core/texts.js";
import { AttachButton, Attached } from "./attached.js";
import { attached, isHeld, onPaste, takeAttached } from "./attachments.js";
import { editing } from "./editing.js";
import { toEnd } from "../parts/scroll.js";
import { isIncognito, running, say, shown, stop } from "./state.js";

export function ChatComposer() {
  const isRunning = running.value !== null;
  return html`<${Composer}
    text=${draft} label=${texts.chat.placeholder} isRunning=${isRunning} canSend=${isConnected.value && model.value !== "" && !isHeld.value}
    hint=${html`${texts.chat.hint}. ${isIncognito.value && texts.chat.memoryOnly}`} onSend=${send} onStop=${stop} onKey=${editLast}
    onPaste=${onPaste} isFull=${attached.value.length > 0} before=${html`<${Attached} />`} beside=${html`<${AttachButton} />`}
  />`;
}

function send() {
  const text = draft.value.trim();
  draft.value = "";
  toEnd();
  say({ text, ...takeAttached() });
}

/** @param {KeyboardEvent} event */
function editLast(event) {
  if (event.key !== "ArrowUp" || draft.value !== "" || running.value) return;
  const last = shown.value.findLast((each) => each.role === "user");
  if (!last) return;
  event.preventDefault();
  editing.value = last.id;
}
