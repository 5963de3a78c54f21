// One figure from run to run, a line per contestant with its interval, and the same in a table.
import { html, useEffect, useSignal } from "../vendor/preact.js";
import { amount, withInterval } from "../lib/figures.js";
import { day, moment } from "../sheet/time.js";
import { figuresOf, scenariosOf, trendOf } from "./trend.js";
import { Chart } from "../sheet/chart.js";
import { Table } from "../parts/table.js";
import { Trouble } from "../sheet/asked.js";
import { askJson } from "../core/api.js";
import { texts } from "../core/page_texts.js";

/**
 * @typedef {import("../core/server.js").Schemas["mlxr.BenchHead"]} Head
 * @typedef {import("../lib/figures.js").Run} Run
 * @typedef {import("./trend.js").Trend} Trend
 */

const MAX_RUNS = 20;
const COLOURS = ["--accent", "--good", "--warn", "--bad"];
const DASHES = [undefined, [8, 4], [2, 3], [10, 3, 2, 3]];
/** What is shown before another is chosen. */
const FIRST = "decode_tokens_per_s";

/** @param {{heads: readonly Head[]}} props */
export function Trends({ heads }) {
  const words = texts.history;
  const wanted = heads.filter(({ is_void: isVoid }) => !isVoid).slice(0, MAX_RUNS).map(({ bench_id: id }) => id);
  const runs = useSignal(/** @type {Run[]} */ ([]));
  const error = useSignal(/** @type {Error | null} */ (null));
  const scenario = useSignal("");
  const figure = useSignal(FIRST);
  useEffect(() => {
    Promise.all(wanted.map((id) => runs.peek().find((each) => each.bench_id === id) ?? askJson(`/v1/mlxr/bench/${id}`))).then(
      (found) => (runs.value = found),
      (thrown) => (error.value = thrown),
    );
  }, [wanted.join()]);
  const scenarios = scenariosOf(runs.value);
  const shown = scenarios.includes(scenario.value) ? scenario.value : (scenarios[0] ?? "");
  const names = figuresOf(runs.value, shown);
  const name = names.includes(figure.value) ? figure.value : (names[0] ?? "");
  const trend = trendOf(runs.value, shown, name);
  return html`<section aria-label=${words.trends}>
    <h2>${words.trends}</h2>
    <${Trouble} error=${error.value} />
    ${trend.runs.length === 0
      ? html`<p class="note">${words.fewRuns}</p>`
      : html`<p class="row wrap ends">
          <${Choice} label=${words.scenario} value=${shown} all=${scenarios} onChange=${(/** @type {string} */ next) => (scenario.value = next)} />
          <${Choice} label=${words.figure} value=${name} all=${names} named=${texts.figures} onChange=${(/** @type {string} */ next) => (figure.value = next)} />
        </p>
        <${Drawn} trend=${trend} name=${name} scenario=${shown} />
        <p class="note">${words.trendHelp(MAX_RUNS)}</p>`}
  </section>`;
}

/** @param {{label: string, value: string, all: string[], named?: Record<string, string>, onChange: (next: string) => void}} props */
function Choice({ label, value, all, named = {}, onChange }) {
  return html`<label>${label}<select value=${value} onChange=${(/** @type {any} */ event) => onChange(event.target.value)}>${all.map((each) => html`<option key=${each} value=${each}>${named[each] ?? each}</option>`)}</select></label>`;
}

/** @param {{trend: Trend, name: string, scenario: string}} props */
function Drawn({ trend, name, scenario }) {
  const words = texts.history;
  const { runs, lines } = trend;
  const places = runs.map((_, place) => place);
  // Per line three rows: the value, and the bounds of its interval.
  const data = [places, ...lines.flatMap(({ values }) => [values.map((each) => each?.value ?? null), values.map((each) => each?.interval?.high ?? null), values.map((each) => each?.interval?.low ?? null)])];
  const drawn = lines.flatMap(({ label }, at) => {
    const colour = COLOURS[at % COLOURS.length];
    const bound = { colour, isBound: true, dash: [2, 4] };
    return [{ label, colour, dash: DASHES[at % DASHES.length], hasPoints: true }, { ...bound, label: words.above(label) }, { ...bound, label: words.below(label) }];
  });
  const bands = lines.map((_, at) => ({ above: 3 * at + 2, below: 3 * at + 3, colour: COLOURS[at % COLOURS.length] }));
  const rows = runs.map((run, place) => [moment(run.created_at), run.version, ...lines.map(({ values }) => cell(name, values[place]))]);
  return html`
    <${Chart} label=${words.chart(texts.figures[name] ?? name, scenario)} data=${data} lines=${drawn} bands=${bands} format=${(/** @type {number} */ value) => amount(name, value)}
      name=${(/** @type {number} */ place) => (runs[place] ? day(runs[place].created_at) : "")} key=${`${name} ${scenario} ${runs.length}`} />
    <${Table} caption=${words.trends} head=${[...words.trendHead, ...lines.map(({ label }) => label)]} rows=${rows} />`;
}

/** @param {string} name @param {import("../lib/figures.js").Figure | null} figure */
function cell(name, figure) {
  const shown = withInterval(name, figure ?? undefined);
  if (!shown) return "–";
  return html`${shown.value}${shown.between && html` <span class="interval">${texts.measure.between(shown.between[0], shown.between[1])}</span>`}`;
}
