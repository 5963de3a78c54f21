// One prompt and its two answers.
import { html, useEffect, useId, useSignal } from "../vendor/preact.js";
import { isEnded, textOf } from "../lib/answer.js";
import { amount, answerFigures, ANSWER_FIGURES, times } from "../lib/figures.js";
import { Sent } from "../attach/attached.js";
import { AnswerView } from "../chat/answer.js";
import { Live, Stats } from "../chat/stats.js";
import { CopyButton } from "../parts/copy.js";
import { Icon } from "../parts/icon.js";
import { Table } from "../parts/table.js";
import { complain } from "../core/status.js";
import { texts } from "../core/texts.js";
import { Vote } from "./blind.js";
import { DifferenceView } from "./difference.js";
import { Measure } from "./measure.js";
import { goOnFrom, isNamed, nameIn, openInChat, running, ticks } from "./state.js";
import { lacksAttached, learnAttached } from "./stored.js";
import { Swaps, WaitingFor } from "./swap.js";

/** @typedef {import("./state.js").Round} Round @typedef {import("./state.js").Place} Place */

/** @param {{round: Round, number: number}} props */
export function RoundView({ round, number }) {
  const version = ticks.value; // an answer changes in place
  const isRunning = running.value === round;
  const hasBoth = round.entries.every(({ answer }) => answer.state === "completed" || answer.isCutByLength);
  return html`<article class="compared" aria-busy=${isRunning}>
    <h2 class="unseen">${texts.compare.round(number)}</h2>
    ${round.after && html`<p class="note">${texts.compare.goesOnFrom(round.after.name)}</p>`}
    <${Asked} round=${round} />
    <div class="columns">
      ${round.columns.map((place) => html`<${Column} key=${place} round=${round} place=${place} version=${version} />`)}
    </div>
    ${!isRunning && hasBoth && (isNamed(round) ? html`<${Outcome} round=${round} />` : html`<${Vote} round=${round} />`)}
  </article>`;
}

/** @param {{round: Round}} props */
function Asked({ round }) {
  const numLearned = useSignal(0);
  useEffect(() => {
    if (lacksAttached(round)) learnAttached(round).then(() => (numLearned.value += 1), complain);
  }, [round]);
  return html`<div class="asked" key=${numLearned.value}><${Sent} message=${round} />${round.text !== "" && html`<div class="said">${round.text}</div>`}</div>`;
}

/** @param {{round: Round, place: Place, version: number}} props */
function Column({ round, place, version }) {
  const id = useId();
  const entry = round.entries[place];
  const { answer, side } = entry;
  const isTold = isNamed(round);
  const isHidden = !isTold && running.value === round;
  return html`<section class="column" aria-labelledby=${id}>
    <h3 class="by" id=${id}>${nameIn(round, place)}</h3>
    ${isTold && html`<${Swaps} entry=${entry} version=${version} />`}
    ${!entry.isAsked && !isEnded(answer) && html`<p class="note pulse">${texts.compare.waitsFor(nameIn(round, place === 0 ? 1 : 0))}</p>`}
    ${isHidden
      ? html`<p class="note">${texts.compare.hidden}</p>`
      : html`<${AnswerView} answer=${answer} version=${version} waiting=${entry.isAsked && html`<${WaitingFor} entry=${entry} version=${version} />`} />`}
    ${isTold && !isEnded(answer) && html`<${Live} answer=${answer} version=${version} />`}
    ${isTold && isEnded(answer) &&
    html`<div class="under">
      <${CopyButton} text=${() => textOf(answer)} label=${texts.chat.copyAnswer} />
      ${running.value !== round && entry.message.itemId !== null && html`<${Ways} round=${round} place=${place} />`}
      <${Stats} answer=${answer} model=${side.model} />
    </div>`}
  </section>`;
}

/** @param {{round: Round, place: Place}} props */
function Ways({ round, place }) {
  return html`
    <button type="button" class="plain" aria-label=${texts.compare.openInChat} title=${texts.compare.openInChat} onClick=${() => openInChat(round, place)}><${Icon} name="chat" /></button>
    <button type="button" class="plain" aria-label=${texts.compare.goOn} title=${texts.compare.goOn} disabled=${running.value !== null} onClick=${() => goOnFrom(round, place)}><${Icon} name="branch" /></button>
  `;
}

/** @param {{round: Round}} props */
function Outcome({ round }) {
  const isDifferenceShown = useSignal(false);
  const id = useId();
  return html`<div class="outcome">
    <${Figures} round=${round} />
    <p class="note">${texts.compare.noMeasurement}</p>
    <p class="row wrap">
      <button type="button" class="quiet" aria-expanded=${isDifferenceShown.value} aria-controls=${id} onClick=${() => (isDifferenceShown.value = !isDifferenceShown.value)}>${texts.compare.showDifference}</button>
      <${Measure} round=${round} />
    </p>
    <div id=${id}>${isDifferenceShown.value && html`<${DifferenceView} texts=${round.entries.map(({ answer }) => textOf(answer))} />`}</div>
  </div>`;
}

/** @param {{round: Round}} props */
function Figures({ round }) {
  const [a, b] = round.entries.map(({ answer }) => answerFigures(answer.timings));
  const rows = ANSWER_FIGURES.filter((name) => a[name] !== null || b[name] !== null).map((name) => {
    const [first, second] = [a[name], b[name]];
    const ratio = first && second && name !== "queue_ms" ? times(second / first) : "";
    return [texts.figures[name], ...[first, second].map((value) => (value === null ? "–" : amount(name, value))), ratio];
  });
  const head = [texts.compare.figure, texts.compare.letter(0), texts.compare.letter(1), texts.compare.ratio];
  return html`<${Table} caption=${texts.compare.figures} head=${head} rows=${rows} />`;
}
