// The list of runs, and the figures of one of them.
import { html, useSignal } from "../vendor/preact.js";
import { count, duration, friendlyName } from "../lib/format.js";
import { moment } from "../sheet/time.js";
import { BenchFigures } from "../parts/bench.js";
import { Table } from "../parts/table.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { texts } from "../core/page_texts.js";

/** @typedef {import("../core/server.js").Schemas["mlxr.BenchHead"]} Head */

/** @param {{runs: readonly Head[]}} props */
export function Runs({ runs }) {
  const words = texts.history;
  const open = useSignal(/** @type {string | null} */ (null));
  /** @param {Head} head */
  const rowOf = (head) => {
    const when = moment(head.created_at);
    const isOpen = open.value === head.bench_id;
    return [
      when,
      friendlyName(head.model),
      head.labels?.join(", ") ?? "–",
      head.scenarios?.length ?? "–",
      [count(head.num_samples ?? 0), head.num_failed ? words.failed(head.num_failed) : null, head.is_complete === false ? words.incomplete : null, head.is_void ? words.isVoid : null].filter(Boolean).join(", "),
      duration(head.duration_s * 1000),
      html`<button type="button" class="quiet" aria-expanded=${isOpen} aria-label=${words.showOf(when)} onClick=${() => (open.value = isOpen ? null : head.bench_id)}>${words.show}</button>`,
    ];
  };
  return html`<section aria-label=${words.runs}>
    <h2>${words.runs}</h2>
    ${runs.length === 0 ? html`<p class="note">${words.noRuns}</p>` : html`<${Table} caption=${words.runs} head=${words.runsHead} rows=${runs.map(rowOf)} />`}
    ${open.value && html`<${RunView} key=${open.value} id=${open.value} />`}
  </section>`;
}

/** @param {{id: string}} props */
function RunView({ id }) {
  const { data, error } = /** @type {import("../sheet/asked.js").Asked<import("../lib/figures.js").Run>} */ (useAsked(`/v1/mlxr/bench/${id}`));
  return html`<${Trouble} error=${error} />${data && html`<div class="card"><h3>${moment(data.created_at)}, ${data.model} <span class="note">${data.bench_id}</span></h3><${BenchFigures} run=${data} /></div>`}`;
}
