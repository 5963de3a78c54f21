// Figures in rows and columns; the first cell of a row names it.
import { html } from "../vendor/preact.js";

/** @param {{caption: string, head: unknown[], rows: unknown[][]}} props */
export function Table({ caption, head, rows }) {
  return html`<div class="scrolled" tabindex="0" role="group" aria-label=${caption}>
    <table class="figures">
      <caption class="unseen">${caption}</caption>
      <thead><tr>${head.map((cell) => html`<th scope="col">${cell}</th>`)}</tr></thead>
      <tbody>
        ${rows.map(([name, ...cells]) => html`<tr><th scope="row">${name}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;
}
