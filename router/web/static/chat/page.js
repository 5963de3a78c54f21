// The chat: what was said, and where one writes.
import { html, useSignal } from "../vendor/preact.js";
import { friendlyName } from "../lib/format.js";
import { Boundary } from "../parts/boundary.js";
import { Icon } from "../parts/icon.js";
import { MenuButton } from "../frame/navigation.js";
import { Picker } from "../parts/picker.js";
import { model } from "../core/settings.js";
import { texts } from "../core/texts.js";
import { attachments, ChatComposer } from "./composer.js";
import { MessageView } from "./message.js";
import { OptionsDialog } from "./options.js";
import { ToEnd, useFollowing } from "../parts/scroll.js";
import { isLoading, running, shown, ticks } from "./state.js";

const NUM_SHOWN = 50;

export function ChatPage() {
  const hasOptions = useSignal(false);
  return html`<div class="chat" ...${attachments.dropping}>
    <div class="top">
      <${MenuButton} />
      <${Picker} />
      <button type="button" class="plain" aria-label=${texts.chat.settings} title=${texts.chat.settings} onClick=${() => (hasOptions.value = true)}>
        <${Icon} name="tune" />
      </button>
    </div>
    <h1 class="unseen">${model.value ? texts.chat.heading(friendlyName(model.value)) : texts.chat.title}</h1>
    <${Log} />
    <${ChatComposer} />
    <${OptionsDialog} isOpen=${hasOptions.value} onClose=${() => (hasOptions.value = false)} />
  </div>`;
}

function Log() {
  const numMore = useSignal(0);
  const messages = shown.value;
  const scrolled = useFollowing([ticks.value, messages]);
  const first = Math.max(0, messages.length - NUM_SHOWN - numMore.value);
  return html`<div class="log" ref=${scrolled} tabindex="0" role="log" aria-live="off" aria-label=${texts.chat.log}>
    ${messages.length === 0 && html`<p class="empty">${isLoading.value ? texts.chat.opening : texts.chat.empty}</p>`}
    ${first > 0 &&
    html`<p class="earlier"><button type="button" class="quiet" onClick=${() => (numMore.value += NUM_SHOWN)}>${texts.chat.earlier(Math.min(first, NUM_SHOWN))}</button></p>`}
    ${messages.slice(first).map(
      (each) => html`<${Boundary} key=${each.id}><${MessageView} message=${each} isRunning=${each === running.value} /><//>`,
    )}
    <${ToEnd} />
  </div>`;
}
