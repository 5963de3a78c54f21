// Voting without names, and the votes of this browser.
import { html } from "../vendor/preact.js";
import { Table } from "../parts/table.js";
import { texts } from "../core/texts.js";
import { nameIn, tally, voteOn } from "./state.js";

/** @typedef {import("./state.js").Round} Round */

/** @param {{round: Round}} props */
export function Vote({ round }) {
  const [left, right] = round.columns;
  /** @type {[import("./state.js").Vote, string][]} */
  const choices = [
    [left, texts.compare.better(nameIn(round, left))],
    [right, texts.compare.better(nameIn(round, right))],
    ["both", texts.compare.bothGood],
    ["none", texts.compare.bothBad],
  ];
  return html`<div class="vote" role="group" aria-label=${texts.compare.vote}>
    <p>${texts.compare.vote}</p>
    <p class="row wrap">${choices.map(([vote, label]) => html`<button type="button" class="quiet" onClick=${() => voteOn(round, vote)}>${label}</button>`)}</p>
  </div>`;
}

export function Tally() {
  const counts = Object.values(tally.value);
  if (counts.length === 0) return null;
  const rows = counts.map(({ names, won, both, none }) => [names.join(" | "), won[0], won[1], both, none]);
  return html`<details class="fold tally">
    <summary>${texts.compare.tally}</summary>
    <p class="note">${texts.compare.tallyHelp}</p>
    <${Table} caption=${texts.compare.tally} head=${texts.compare.tallyHead} rows=${rows} />
    <p><button type="button" class="quiet" onClick=${() => (tally.value = {})}>${texts.compare.tallyForget}</button></p>
  </details>`;
}
