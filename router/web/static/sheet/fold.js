// A part that is folded; what is in it is made when it is opened first.
import { html, useSignal } from "../vendor/preact.js";

/** @param {{title: unknown, isOpen?: boolean, children: () => unknown}} props */
export function Fold({ title, isOpen = false, children }) {
  const wasOpened = useSignal(isOpen);
  return html`<details class="part" open=${isOpen} onToggle=${(/** @type {any} */ event) => event.target.open && (wasOpened.value = true)}>
    <summary>${title}</summary>
    ${(wasOpened.value || isOpen) && html`<div>${children()}</div>`}
  </details>`;
}
