// The memory of the last minutes as lines, each load and unload with what was before and after it.
import { html } from "../vendor/preact.js";
import { bytes, duration } from "../lib/format.js";
import { timeline } from "./readings.js";
import { Chart } from "../sheet/chart.js";
import { Table } from "../parts/table.js";
import { clock } from "../sheet/time.js";
import { texts } from "../core/page_texts.js";
import { points } from "./data.js";

/** @typedef {import("./data.js").Status} Status */

/** @type {import("../sheet/chart.js").Line[]} */
const LINES = [
  { label: texts.machine.available, colour: "--accent" },
  { label: texts.machine.workers, colour: "--good", dash: [8, 4] },
  { label: texts.machine.gateway, colour: "--soft", dash: [2, 3] },
];
const NUM_SHOWN = 12;

/** @param {{status: Status}} props */
export function Memory({ status }) {
  const words = texts.machine;
  const { swaps } = status;
  const data = timeline(points.value, swaps, Date.now() / 1000);
  const marks = swaps.map(({ at, event, engine }) => ({ at, label: words.mark(event, engine) }));
  const newest = [...swaps].reverse().slice(0, NUM_SHOWN);
  return html`<section aria-label=${words.timeline}>
    <h2>${words.timeline}</h2>
    <${Chart} label=${words.chart} data=${data} lines=${LINES} marks=${marks} format=${bytes} />
    ${newest.length === 0
      ? html`<p class="note">${words.noSwaps}</p>`
      : html`<${Table} caption=${words.swaps} head=${words.swapHead} rows=${newest.map(rowOf)} />`}
  </section>`;
}

/** @param {Status["swaps"][number]} swap */
function rowOf(swap) {
  const words = texts.machine;
  const ms = swap.event === "load" ? swap.load_ms : swap.unload_ms;
  const size = (/** @type {number | null | undefined} */ value) => (value == null ? "–" : bytes(value));
  return [
    html`${clock(swap.at)} ${words.events[swap.event] ?? swap.event} ${swap.model}, ${swap.engine}${swap.reason && html` <span class="note">${swap.reason}</span>`}`,
    ms == null ? "–" : duration(ms),
    size(swap.available_before_bytes),
    size(swap.available_after_bytes),
    size(swap.event === "load" ? swap.rss_after_bytes : swap.freed_bytes),
    swap.is_memory_back == null ? "–" : swap.is_memory_back ? words.yes : words.no,
  ];
}
