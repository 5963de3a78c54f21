// "Measure": the benchmark on a round's prompt, its progress and its figures.
import { html } from "../vendor/preact.js";
import { BenchFigures } from "../parts/bench.js";
import { Progress } from "../parts/progress.js";
import { percent } from "../lib/format.js";
import { complain } from "../core/status.js";
import { texts } from "../core/texts.js";
import { measure, measurement, stopMeasuring } from "./measuring.js";
import { running } from "./state.js";

/** @param {{round: import("./state.js").Round}} props */
export function Measure({ round }) {
  const now = measurement.value;
  const isBusy = now?.state === "running";
  const hasAttached = round.numAttached > 0;
  const mine = now?.roundId === round.id ? now : null;
  return html`
    <button type="button" disabled=${isBusy || hasAttached || running.value !== null} title=${hasAttached ? texts.measure.wordsOnly : texts.measure.help} onClick=${() => measure(round)}>${texts.measure.button}</button>
    ${hasAttached && html`<span class="note">${texts.measure.wordsOnly}</span>`}
    ${mine?.state === "running" &&
    html`<${Progress} label=${texts.measure.running} share=${mine.share} detail=${`${percent(mine.share)} ${mine.what}`} />
      <button type="button" class="quiet" onClick=${() => stopMeasuring().catch(complain)}>${texts.measure.stop}</button>`}
    ${mine?.state === "failed" && html`<span class="error" role="alert">${texts.measure.failed}${mine.error}</span>`}
    ${mine?.run && html`<${BenchFigures} run=${mine.run} />`}
  `;
}
