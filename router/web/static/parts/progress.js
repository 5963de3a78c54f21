// How far something is.
import { html } from "../vendor/preact.js";

/** @param {{label: string, share: number | undefined, detail: unknown}} props `share` in [0, 1]; undefined = not known. */
export function Progress({ label, share, detail }) {
  return html`<p class="bar"><span>${label}</span><progress max="1" value=${share} aria-label=${label}></progress><span>${detail}</span></p>`;
}
