// More about one model: memory, settings, other names, adapters, other forms, its files.
import { html } from "../vendor/preact.js";
import { bytes, count } from "../lib/format.js";
import { Boundary } from "../parts/boundary.js";
import { Fold } from "../sheet/fold.js";
import { Table } from "../parts/table.js";
import { texts } from "../core/page_texts.js";
import { Adapters } from "./adapters.js";
import { Aliases } from "./aliases.js";
import { Convert, Verify } from "./files.js";
import { Remove } from "./remove.js";
import { Settings } from "./settings.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Fit} Fit
 */

/** @param {{model: Model, fit: Fit | null}} props */
export function More({ model, fit }) {
  const words = texts.more;
  const folds = /** @type {[string, () => unknown][]} */ ([
    [words.memory, () => html`<${Memory} fit=${fit} />`],
    [words.settings, () => html`<${Settings} name=${model.id} />`],
    [words.aliases, () => html`<${Aliases} model=${model} />`],
    [words.adapters, () => html`<${Adapters} name=${model.id} />`],
    [words.convert, () => html`<${Convert} name=${model.id} />`],
    [words.verify, () => html`<${Verify} name=${model.id} />`],
    [words.remove, () => html`<${Remove} name=${model.id} />`],
  ]);
  return html`<div class="more">
    ${folds.map(([title, show]) => html`<${Fold} key=${title} title=${title}>${() => html`<${Boundary}>${show()}<//>`}<//>`)}
  </div>`;
}

/** @param {{fit: Fit | null}} props */
function Memory({ fit }) {
  if (fit === null || fit.engines.length === 0) return html`<p class="note">${texts.more.noMemory}</p>`;
  const { memory } = texts;
  const rows = /** @type {[string, (of: Fit["engines"][number]) => unknown][]} */ ([
    [memory.required, (of) => bytes(of.required_bytes)],
    [memory.withCaches, (of) => bytes(of.total_bytes)],
    [memory.available, (of) => bytes(of.available_bytes)],
    [memory.fits, (of) => (of.fits ? (of.fits_with_kept_caches ? memory.yes : memory.withoutCaches) : memory.no)],
    [memory.largest, (of) => (of.largest_context === null ? memory.none : count(of.largest_context))],
    [memory.parallel, (of) => of.parallel],
  ]);
  return html`<${Table} caption=${texts.more.memory} head=${[memory.figure, ...fit.engines.map(({ engine }) => engine)]}
    rows=${rows.map(([name, show]) => [name, ...fit.engines.map(show)])} />
    <p class="note">${memory.help}</p>`;
}
