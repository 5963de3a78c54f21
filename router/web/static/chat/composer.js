// Where one writes.
import { html, useEffect, useRef } from "../vendor/preact.js";
import { isSend } from "../lib/keys.js";
import { Icon } from "../parts/icon.js";
import { isConnected } from "../core/server.js";
import { draft, model } from "../core/settings.js";
import { texts } from "../core/texts.js";
import { editing } from "./editing.js";
import { toEnd } from "./scroll.js";
import { isIncognito, running, say, shown, stop } from "./state.js";

const MAX_SHARE = 0.4;

export function Composer() {
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  useEffect(() => grow(area.current), [draft.value]);
  useEffect(() => area.current?.focus({ preventScroll: true }), []);
  useEffect(() => {
    document.addEventListener("keydown", stopByKey);
    return () => document.removeEventListener("keydown", stopByKey);
  }, []);
  const isRunning = running.value !== null;
  const isEmpty = draft.value.trim() === "";
  return html`<form class="composer" onSubmit=${submit}>
    <label class="unseen" for="composer">${texts.chat.placeholder}</label>
    <textarea
      id="composer" ref=${area} rows="1" placeholder=${texts.chat.placeholder} value=${draft.value} aria-describedby="composer-hint"
      onInput=${(/** @type {any} */ event) => (draft.value = event.target.value)} onKeyDown=${onKey}
    ></textarea>
    ${isRunning
      ? html`<button type="button" class="round" aria-label=${texts.chat.stop} title=${texts.chat.stop} onClick=${stop}><${Icon} name="stop" /></button>`
      : html`<button type="submit" class="round" disabled=${isEmpty || !isConnected.value || !model.value} aria-label=${texts.chat.send} title=${texts.chat.send}><${Icon} name="send" /></button>`}
    <p id="composer-hint" class="hint">${texts.chat.hint}. ${isIncognito.value && texts.chat.memoryOnly}</p>
  </form>`;
}

/** @param {Event} event */
function submit(event) {
  event.preventDefault();
  const text = draft.value.trim();
  if (text === "" || running.value || !isConnected.value || !model.value) return;
  draft.value = "";
  toEnd();
  say(text);
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (isSend(event)) return submit(event);
  if (event.key === "ArrowUp" && draft.value === "" && !running.value) {
    const last = shown.value.findLast((each) => each.role === "user");
    if (last) {
      event.preventDefault();
      editing.value = last.id;
    }
  }
}

/** @param {KeyboardEvent} event */
function stopByKey(event) {
  if (event.key === "Escape" && running.value && !document.querySelector("dialog[open]")) stop();
}

/** @param {HTMLTextAreaElement | null} area */
function grow(area) {
  if (!area) return;
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, innerHeight * MAX_SHARE)}px`;
}
