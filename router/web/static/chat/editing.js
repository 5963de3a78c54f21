// A message that was sent, written anew. It becomes a version beside the old one, which stays.
import { html, signal, useLayoutEffect, useRef } from "../vendor/preact.js";
import { isSend } from "../lib/keys.js";
import { texts } from "../core/texts.js";
import { say } from "./state.js";

/** The id of the message that is edited, or null. */
export const editing = signal(/** @type {string | null} */ (null));

/** @param {import("./state.js").Message} message */
const pick = ({ images, documents }) => ({ images, documents });

/** @param {{message: import("./state.js").Message}} props */
export function Editor({ message }) {
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  useLayoutEffect(() => area.current?.focus(), []);
  const cancel = () => {
    editing.value = null;
    document.getElementById("composer")?.focus();
  };
  /** @param {Event} [event] */
  const save = (event) => {
    event?.preventDefault();
    const text = area.current?.value.trim() ?? "";
    cancel();
    if (text !== "") say({ ...pick(message), text }, message.parent);
  };
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (isSend(event)) save(event);
    else if (event.key === "Escape") cancel();
  };
  return html`<form class="editor" onSubmit=${save}>
    <textarea ref=${area} rows="3" aria-label=${texts.chat.edit} onKeyDown=${onKey}>${message.text}</textarea>
    <p class="row"><button type="submit">${texts.chat.save}</button><button type="button" class="quiet" onClick=${cancel}>${texts.chat.cancel}</button></p>
  </form>`;
}
