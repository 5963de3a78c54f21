// Where one writes: Return sends, Escape stops what runs.
import { html, useEffect, useRef } from "../vendor/preact.js";
import { isSend } from "../lib/keys.js";
import { texts } from "../core/texts.js";
import { Icon } from "./icon.js";

const MAX_SHARE = 0.4;

/**
 * @param {object} props
 * @param {import("../vendor/preact.js").Signal<string>} props.text
 * @param {string} props.label
 * @param {unknown} props.hint
 * @param {boolean} props.isRunning
 * @param {boolean} props.canSend Beside a text, which must be there.
 * @param {() => void} props.onSend
 * @param {() => void} props.onStop
 * @param {(event: KeyboardEvent) => void} [props.onKey] Of keys that send nothing.
 * @param {(event: ClipboardEvent) => void} [props.onPaste]
 * @param {unknown} [props.before] Stands over the text.
 * @param {unknown} [props.beside] Stands before the text.
 * @param {boolean} [props.isFull] Whether there is something to send without a text.
 */
export function Composer({ text, label, hint, isRunning, canSend, onSend, onStop, onKey, onPaste, before, beside, isFull = false }) {
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  useEffect(() => grow(area.current), [text.value]);
  useEffect(() => area.current?.focus({ preventScroll: true }), []);
  useEffect(() => {
    if (!isRunning) return undefined;
    /** @param {KeyboardEvent} event */
    const stopByKey = (event) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) onStop();
    };
    document.addEventListener("keydown", stopByKey);
    return () => document.removeEventListener("keydown", stopByKey);
  }, [isRunning]);
  const isOff = !canSend || (text.value.trim() === "" && !isFull);
  /** @param {Event} event */
  const submit = (event) => {
    event.preventDefault();
    if (!isOff && !isRunning) onSend();
  };
  return html`<form class="composer" onSubmit=${submit}>
    ${before}
    <label class="unseen" for="composer">${label}</label>
    ${beside}
    <textarea
      id="composer" ref=${area} rows="1" placeholder=${label} value=${text.value} aria-describedby="composer-hint"
      onInput=${(/** @type {any} */ event) => (text.value = event.target.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => (isSend(event) ? submit(event) : onKey?.(event))} onPaste=${onPaste}
    ></textarea>
    ${isRunning
      ? html`<button type="button" class="round" aria-label=${texts.chat.stop} title=${texts.chat.stop} onClick=${onStop}><${Icon} name="stop" /></button>`
      : html`<button type="submit" class="round" disabled=${isOff} aria-label=${texts.chat.send} title=${texts.chat.send}><${Icon} name="send" /></button>`}
    <p id="composer-hint" class="hint">${hint}</p>
  </form>`;
}

/** @param {HTMLTextAreaElement | null} area */
function grow(area) {
  if (!area) return;
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, innerHeight * MAX_SHARE)}px`;
}
