// Two texts as one, with what only one of them has marked.
import { html, useMemo } from "../vendor/preact.js";
import { difference } from "../lib/difference.js";
import { percent } from "../lib/format.js";
import { texts as words } from "../core/texts.js";

/** @param {{texts: string[]}} props Of A and of B. */
export function DifferenceView({ texts: [first, second] }) {
  const found = useMemo(() => difference(first, second), [first, second]);
  if (first === second) return html`<p class="note">${words.compare.identical}</p>`;
  if (!found) return html`<p class="note">${words.compare.tooDifferent}</p>`;
  return html`
    <p class="note">${words.compare.shared(percent(found.share), found.numSame)}</p>
    <div class="difference" tabindex="0" role="group" aria-label=${words.compare.difference}>
      ${found.pieces.map(({ text, of }) =>
        of === null ? text : of === 0
          ? html`<del><span class="unseen"> [${words.compare.only(0)}: </span>${text}<span class="unseen">] </span></del>`
          : html`<ins><span class="unseen"> [${words.compare.only(1)}: </span>${text}<span class="unseen">] </span></ins>`,
      )}
    </div>
  `;
}
