// Prompts that two were asked, one after the other, and what happened between them.
import { computed, signal } from "../vendor/preact.js";
import { isEnded, newAnswer } from "../lib/answer.js";
import { contentOf } from "../lib/attached.js";
import { friendlyName } from "../lib/format.js";
import { contestant, fittingSides, loadHeader, orderOf } from "./sides.js";
import { storedRounds, storeRounds } from "./stored.js";
import { counted } from "./tally.js";
import { askAndRead, endOf, readOn, readToEnd, stopAnswer } from "../chat/answering.js";
import { Flusher } from "../core/flusher.js";
import { changeConversation, createConversation, lastItems, refreshEntries } from "../conversations/kept.js";
import { openKept } from "../chat/state.js";
import { models, onSwap, states } from "../core/server.js";
import { kept, model, options } from "../core/settings.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/texts.js";

/**
 * @typedef {import("./sides.js").Side} Side
 * @typedef {import("./sides.js").Place} Place
 * @typedef {import("./tally.js").Vote} Vote
 * @typedef {import("../lib/thread.js").Message} Message
 * @typedef {import("../lib/answer.js").Answer} Answer
 * @typedef {import("../core/server.js").Swap} Swap
 *
 * @typedef {object} Entry One side's part of a round.
 * @property {Side} side
 * @property {Message} message
 * @property {Answer} answer
 * @property {Swap[]} swaps Loads and unloads that it waited for.
 * @property {boolean} isAsked
 *
 * @typedef {object} Round
 * @property {string} id
 * @property {string} text
 * @property {string[]} images As data: URLs.
 * @property {import("../lib/attached.js").Document[]} documents
 * @property {number} numAttached Pictures and documents, also where a reload has left none of them here.
 * @property {[Entry, Entry]} entries
 * @property {[Place, Place]} order In which they are asked.
 * @property {[Place, Place]} columns In which they are shown.
 * @property {boolean} isBlind Whether their names are told only after the vote.
 * @property {Vote | null} vote
 * @property {number} seed
 * @property {import("../core/settings.js").ChatOptions} options
 * @property {Start | null} after What it goes on from.
 * @property {string | null} conversationId
 * @property {string | null} userItemId
 * @property {boolean} isStopped
 *
 * @typedef {{conversationId: string, itemId: string, name: string}} Start
 */

/** @type {import("../vendor/preact.js").Signal<[Side, Side] | null>} */
const chosen = kept("compare-sides", null);
export const isBlind = kept("compare-blind", false);
export const draft = kept("compare-draft", "");
/** @type {import("../vendor/preact.js").Signal<import("./tally.js").Tally>} */
export const tally = kept("compare-tally", {});

/** The two that are asked next; null = there is no model. */
export const sides = computed(() => fittingSides(chosen.value, models.value ?? [], model.value));
export const rounds = signal(storedRounds());
/** The round whose answers come, or null. */
export const running = signal(/** @type {Round | null} */ (null));
/** Counts the flushes of what comes. */
export const ticks = signal(0);
/** The answer that the next prompt goes on from; null = it begins anew. */
export const start = signal(/** @type {Start | null} */ (null));

/** Who was asked last, and so is loaded unless something else was since. */
const lastAsked = signal(/** @type {Place | null} */ (null));
/** In which the next prompt is asked; null = there is no model. */
export const order = computed(() => sides.value && orderOf(sides.value, states.value, lastAsked.value));
let waiting = /** @type {Entry | null} */ (null);
const tick = () => (ticks.value += 1);

/** @param {Place} place @param {Partial<Side>} change */
export function setSide(place, change) {
  const [a, b] = sides.value ?? [];
  if (!a || !b) return;
  const changed = { ...[a, b][place], ...change };
  const engines = models.value?.find((each) => each.id === changed.model)?.engines ?? [];
  if (!engines.includes(changed.engine)) changed.engine = engines[0] ?? "";
  chosen.value = place === 0 ? [changed, b] : [a, changed];
  lastAsked.value = null;
}

export function swapSides() {
  const [a, b] = sides.value ?? [];
  if (a && b) chosen.value = [b, a];
  if (lastAsked.value !== null) lastAsked.value = lastAsked.value === 0 ? 1 : 0;
}

onSwap((swap) => {
  if (!waiting) return;
  waiting.swaps.push(swap);
  tick();
  // What comes behind the load of an answer that has ended is others'.
  if (isEnded(waiting.answer) && swap.event === "load") waiting = null;
});

/** Ask both. @param {{text: string} & import("../attach/attachments.js").Attached} said */
export async function compare(said) {
  const pair = sides.value;
  if (!pair || running.value) return;
  const round = newRound(said, pair);
  rounds.value = [...rounds.value, round];
  start.value = null;
  await run(round);
}

/** Have a round's answers come, as far as they are not there. @param {Round} round */
async function run(round) {
  running.value = round;
  const flusher = new Flusher(tick);
  try {
    round.conversationId ??= round.after?.conversationId ?? (await createConversation());
    // What is said at the same moment is said as one: of two texts in a row only the last is heard.
    let said = "";
    for (const place of round.order) said = await answer(round, place, said, (isUrgent) => flusher.request(isUrgent));
    announce(round.isStopped ? said : `${said}. ${texts.compare.both}`);
  } catch (error) {
    complain(error);
    for (const { answer } of round.entries) if (!isEnded(answer)) answer.state = "cancelled";
  }
  running.value = null;
  flusher.end();
}

/** @param {Parameters<typeof compare>[0]} said @param {[Side, Side]} pair @returns {Round} */
function newRound(said, pair) {
  const ids = crypto.getRandomValues(new Uint32Array(5));
  /** @param {Side} side @param {number} number @returns {Entry} */
  const entry = (side, number) => {
    const answer = newAnswer();
    const id = `${ids[number]}-${ids[number + 1]}`;
    /** @type {Message} */
    const message = { id, parent: null, role: "assistant", text: "", images: [], documents: [], answer: null, model: side.model, engine: side.engine, itemId: null };
    return { side, message, answer, swaps: [], isAsked: false };
  };
  return {
    id: String(ids[4]),
    ...said,
    numAttached: said.images.length + said.documents.length,
    entries: [entry(pair[0], 0), entry(pair[1], 2)],
    order: orderOf(pair, states.value, lastAsked.value),
    columns: isBlind.value && ids[4] % 2 === 1 ? [1, 0] : [0, 1],
    isBlind: isBlind.value,
    vote: null,
    // The same for both: else two draws are compared, not two engines.
    seed: options.value.seed ?? ids[4] % 2 ** 31,
    options: options.value,
    after: start.value,
    conversationId: null,
    userItemId: null,
    isStopped: false,
  };
}

/**
 * @param {Round} round @param {Place} place @param {string} said Of the one before. @param {(isUrgent: boolean) => void} onChange
 * @returns What is to be said of its end.
 */
async function answer(round, place, said, onChange) {
  const entry = round.entries[place];
  if (isEnded(entry.answer)) return said;
  if (round.isStopped) {
    entry.answer.state = "cancelled";
    return said;
  }
  entry.isAsked = true;
  waiting = entry;
  lastAsked.value = place;
  announce([said, texts.compare.asks(nameIn(round, place))].filter(Boolean).join(". "));
  onChange(true);
  const terms = { options: { ...round.options, seed: round.seed }, load: loadHeader(entry.side), speculation: entry.side.speculation };
  await readToEnd(entry.answer, () =>
    // One that was begun before the page was loaded anew runs on.
    entry.answer.responseId !== null && round.conversationId !== null
      ? readOn(entry.answer, onChange)
      : askAndRead(entry.message, entry.answer, askedOf(round), terms, onChange),
  );
  await noteItems(round, entry);
  if (waiting === entry && !entry.answer.timings?.load_ms) waiting = null;
  onChange(true);
  return `${nameIn(round, place)}: ${endOf(entry.answer)}`;
}

/** @param {Round} round */
function askedOf(round) {
  const { conversationId, userItemId, after } = round;
  const said = [{ role: "user", content: contentOf(round) }];
  if (conversationId === null) return { input: said };
  if (userItemId !== null) return { input: [], conversation: { id: conversationId, after: userItemId } };
  return { input: said, conversation: { id: conversationId, after: after?.itemId ?? null } };
}

/** Learn by which items the server keeps the question and an answer. @param {Round} round @param {Entry} entry */
async function noteItems(round, { message, answer }) {
  const id = round.conversationId;
  if (id === null || answer.responseId === null) return;
  message.itemId = answer.parts.findLast((part) => part)?.id ?? null;
  try {
    if (round.userItemId === null) round.userItemId = (await lastItems(id)).find((each) => each.role === "user")?.id ?? null;
    await refreshEntries();
  } catch {
    // A server that has gone is told of elsewhere.
  }
}

export function stop() {
  const round = running.value;
  if (!round) return;
  round.isStopped = true;
  const entry = round.entries.find((each) => each.isAsked && !isEnded(each.answer));
  if (entry) stopAnswer(entry.message, entry.answer, round.conversationId !== null);
}

// A reload of the page loses nothing of what the server keeps; another window begins without it.
addEventListener("pagehide", () => storeRounds(rounds.value));

/** Go on with the round that a reload broke off. */
export function resume() {
  const last = rounds.value.at(-1);
  if (last && !running.value && !last.entries.every(({ answer }) => isEnded(answer))) run(last);
}

/** Whether the names of a round may be told. @param {Round} round */
export const isNamed = (round) => !round.isBlind || round.vote !== null;

/** What a side is called in a round. @param {Round} round @param {Place} place */
export function nameIn(round, place) {
  if (!isNamed(round)) return texts.compare.blindName(round.columns.indexOf(place) + 1);
  const { side } = round.entries[place];
  return texts.compare.sideName(place, friendlyName(side.model), side.engine);
}

/** @param {Round} round @param {Vote} vote */
export function voteOn(round, vote) {
  const [a, b] = round.entries.map(({ side }) => contestant(side));
  round.vote = vote;
  tally.value = counted(tally.value, [a, b], vote);
  announce(texts.compare.told(nameIn(round, 0), nameIn(round, 1)));
  tick();
}

/** Let the next prompt go on from an answer. @param {Round} round @param {Place} place */
export function goOnFrom(round, place) {
  const { message } = round.entries[place];
  if (round.conversationId === null || message.itemId === null) return;
  start.value = { conversationId: round.conversationId, itemId: message.itemId, name: nameIn(round, place) };
  document.getElementById("composer")?.focus();
}

/** Go on in the chat with an answer. @param {Round} round @param {Place} place */
export async function openInChat(round, place) {
  const { message, side } = round.entries[place];
  if (round.conversationId === null || message.itemId === null) return;
  try {
    await changeConversation(round.conversationId, { head_item_id: message.itemId });
    model.value = side.model;
    openKept(round.conversationId);
  } catch (error) {
    complain(error);
  }
}
