// A page that is read from top to bottom: its line with the title, and what scrolls under it.
import { html } from "../vendor/preact.js";
import { MenuButton } from "../frame/navigation.js";

/** @param {{title: string, beside?: unknown, children?: unknown}} props `beside` stands on the title's line. */
export function Sheet({ title, beside, children }) {
  return html`<div class="reading">
    <div class="top"><${MenuButton} /><h1>${title}</h1>${beside}</div>
    <div class="read" tabindex="0" role="group" aria-label=${title}><div>${children}</div></div>
  </div>`;
}
