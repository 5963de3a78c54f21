// The figures of a benchmark, with their intervals as the server gives them.
import { html } from "../vendor/preact.js";
import { measuredNames, times, withInterval } from "../lib/figures.js";
import { texts } from "../core/texts.js";
import { Table } from "./table.js";

/**
 * @typedef {import("../lib/figures.js").Run} Run
 * @typedef {Run["summary"]["scenarios"][number]["contestants"]} Contestants
 */

/** @param {{run: Run}} props */
export function BenchFigures({ run }) {
  const labels = run.contestants.map((each) => each.label);
  const measured = run.summary.scenarios.filter((each) => each.skipped === null);
  return html`<section class="bench" aria-label=${texts.measure.result}>
    ${!run.is_complete && html`<p class="note">${texts.measure.incomplete}</p>`}
    ${measured.map(
      (scenario) => html`
        <h4>${scenario.what}</h4>
        ${winner(scenario.winner, labels, scenario.is_void)}
        <${FigureTable} caption=${scenario.what} labels=${labels} contestants=${scenario.contestants} />`,
    )}
    <h4>${texts.measure.sides}</h4>
    <${FigureTable} caption=${texts.measure.sides} labels=${labels} contestants=${run.summary.sides} />
    ${run.notices.length > 0 &&
    html`<h4>${texts.measure.notices}</h4>
      <ul>${run.notices.map((notice) => html`<li>${notice.message}</li>`)}</ul>`}
    <p class="note">${texts.measure.kept(run.bench_id, run.repeats)}</p>
  </section>`;
}

/** @param {number | null} place @param {string[]} labels @param {boolean} isVoid */
function winner(place, labels, isVoid) {
  if (isVoid) return html`<p>${texts.measure.isVoid}</p>`;
  return html`<p>${place === null ? texts.measure.nobody : texts.measure.wins(labels[place])}</p>`;
}

/** @param {{caption: string, labels: string[], contestants: Contestants}} props */
function FigureTable({ caption, labels, contestants }) {
  const others = labels.slice(1);
  const head = [texts.compare.figure, ...labels, ...others.map((label) => texts.measure.ratioOf(label, labels[0]))];
  const rows = measuredNames(contestants).map((name) => [
    texts.figures[name] ?? name,
    ...contestants.map(({ figures }) => cell(name, figures[name])),
    ...contestants.slice(1).map(({ figures }) => ratio(figures[name])),
  ]);
  return html`<${Table} caption=${caption} head=${head} rows=${rows} />`;
}

/** @param {string} name @param {import("../lib/figures.js").Figure | undefined} figure */
function cell(name, figure) {
  const shown = withInterval(name, figure);
  if (!shown) return "–";
  return html`${shown.value}${shown.between && html` <span class="interval">${texts.measure.between(shown.between[0], shown.between[1])}</span>`}`;
}

/** @param {import("../lib/figures.js").Figure | undefined} figure */
function ratio(figure) {
  if (!figure?.ratio) return "";
  const { low, mid, high } = figure.ratio;
  const word = figure.verdict ? html` <span>${texts.measure.verdicts[figure.verdict]}</span>` : null;
  return html`${times(mid)} <span class="interval">${texts.measure.between(times(low), times(high))}</span>${word}`;
}
