// A dialog over the page: Escape closes it, the focus goes back to where it was.
import { html, useEffect, useId, useRef } from "../vendor/preact.js";

/**
 * @param {{title: string, isOpen: boolean, onClose: () => void, children?: unknown}} props
 */
export function Dialog({ title, isOpen, onClose, children }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useEffect(() => {
    if (isOpen) element.current?.showModal();
    else element.current?.close();
  }, [isOpen]);
  return html`<dialog ref=${element} aria-labelledby=${id} onClose=${onClose}>
    ${isOpen && html`<h2 id=${id}>${title}</h2>${children}`}
  </dialog>`;
}
