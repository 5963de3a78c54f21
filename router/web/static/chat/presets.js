// Settings of chats: those of each conversation, and those that have a name. Kept in this browser.
import { effect, html, signal, untracked, useSignal } from "../vendor/preact.js";
import { kept, options } from "../core/settings.js";
import { announce } from "../core/status.js";
import { texts } from "../core/texts.js";
import { conversationId } from "./state.js";

/** @typedef {import("../core/settings.js").ChatOptions} ChatOptions */

const MAX_CONVERSATIONS = 200;

/** @type {import("../vendor/preact.js").Signal<[string, ChatOptions][]>} The newest last. */
const ofConversations = kept("chat-options-of", []);
/** @type {import("../vendor/preact.js").Signal<Record<string, ChatOptions>>} */
export const presets = kept("presets", {});

let last = /** @type {string | null} */ (null);
effect(() => {
  const id = conversationId.value;
  const now = options.value;
  untracked(() => {
    const known = ofConversations.value.find(([each]) => each === id)?.[1];
    const isOpened = id !== last;
    last = id;
    if (id === null || known === now) return;
    // One that is opened has its own settings back; one that began just now gets those that it began with.
    if (isOpened && known) options.value = known;
    else ofConversations.value = [...ofConversations.value.filter(([each]) => each !== id), /** @type {[string, ChatOptions]} */ ([id, now])].slice(-MAX_CONVERSATIONS);
  });
});

/** The preset that says what the settings are. */
function nameOfNow() {
  const now = JSON.stringify(options.value);
  return Object.keys(presets.value).find((name) => JSON.stringify(presets.value[name]) === now) ?? "";
}

const isNaming = signal(false);

export function Presets() {
  const name = useSignal("");
  const chosen = nameOfNow();
  const names = Object.keys(presets.value).sort();
  const save = () => {
    const given = name.value.trim();
    if (given === "") return;
    presets.value = { ...presets.value, [given]: options.value };
    announce(texts.presets.saved(given));
    isNaming.value = false;
    name.value = "";
  };
  const forget = () => {
    const { [chosen]: _, ...others } = presets.value;
    presets.value = others;
  };
  /** @param {KeyboardEvent} event A Return saves, and does not close the dialog. */
  const onKey = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    save();
  };
  return html`<div class="presets">
    <label>${texts.presets.label}
      <select aria-label=${texts.presets.label} value=${chosen} onChange=${choose}>
        <option value="">${texts.presets.none}</option>
        ${names.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
      </select>
    </label>
    <p class="row wrap">
      ${isNaming.value
        ? html`<input aria-label=${texts.presets.name} placeholder=${texts.presets.name} maxlength="60" value=${name.value} onInput=${(/** @type {any} */ event) => (name.value = event.target.value)} onKeyDown=${onKey} />
            <button type="button" onClick=${save}>${texts.presets.save}</button>`
        : html`<button type="button" class="quiet" onClick=${() => (isNaming.value = true)}>${texts.presets.saveAs}</button>`}
      ${chosen && html`<button type="button" class="danger" onClick=${forget}>${texts.presets.remove(chosen)}</button>`}
    </p>
  </div>`;
}

/** @param {any} event */
function choose({ target }) {
  const found = presets.value[target.value];
  if (found) options.value = found;
}
