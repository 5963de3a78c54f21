// The conversation that is open: what was said, and the answer that runs.
import { computed, effect, signal, untracked } from "../vendor/preact.js";
import { isEnded, newAnswer, textOf } from "../lib/answer.js";
import { contentOf } from "../lib/attached.js";
import { add, newThread, path, show, siblings } from "../lib/thread.js";
import { threadOf } from "../lib/tree.js";
import { ApiError, needsKey } from "../core/api.js";
import { conversationInAddress, go, pageInAddress } from "../core/route.js";
import { chatLoad, chosenState } from "../core/server.js";
import { engine, model, options } from "../core/settings.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/texts.js";
import { askAndRead, endOf, readOn, readToEnd, stopAnswer } from "./answering.js";
import { Flusher } from "../core/flusher.js";
import { changeConversation, createConversation, lastItems, refreshEntries, treeOf } from "../conversations/kept.js";

/**
 * @typedef {import("../lib/thread.js").Message} Message
 * @typedef {import("../lib/answer.js").Answer} Answer
 */

let thread = newThread();
/** Counts changes of what is said; who reads it is drawn anew. */
const version = signal(0);
/** The messages that are shown. */
export const shown = computed(() => (version.value, path(thread)));
/** The message whose answer is read, or null. */
export const running = signal(/** @type {Message | null} */ (null));
/** Counts the flushes of the answer that runs. */
export const ticks = signal(0);
/** The conversation that the server keeps; null = none yet, or it is not to keep it. */
export const conversationId = signal(/** @type {string | null} */ (null));
/** Whether what is said now is kept nowhere but in this page. */
export const isIncognito = signal(false);
export const isLoading = signal(false);

const touch = () => (version.value += 1);
const newId = () => crypto.getRandomValues(new Uint32Array(2)).join("-");

/** @param {import("../lib/thread.js").Thread} next @param {string | null} id */
function open(next, id) {
  thread = next;
  conversationId.value = id;
  // An answer of another conversation runs on without being read.
  running.value = null;
  touch();
}

export function startChat({ incognito = false } = {}) {
  isIncognito.value = incognito;
  if (running.value && conversationId.value === null) stop();
  open(newThread(), null);
  go(null);
  document.getElementById("composer")?.focus();
}

// The address says what is open: after a link, after "back", at a reload, and when the key for it has come.
effect(() => {
  const wanted = conversationInAddress();
  if (needsKey.value || pageInAddress.value !== null) return;
  untracked(() => {
    if (wanted === conversationId.value) return;
    if (wanted === null) startChat();
    else load(wanted);
  });
});

/** Show a conversation as the server has it, also where it was open before. @param {string} id */
export function openKept(id) {
  if (conversationId.value === id) open(newThread(), null);
  go(id);
}

/** @param {string} id */
async function load(id) {
  isLoading.value = true;
  try {
    const tree = await treeOf(id);
    if (conversationInAddress() !== id) return;
    isIncognito.value = false;
    open(threadOf(tree), id);
  } catch (error) {
    complain(error);
    if (error instanceof ApiError && error.status === 404) go(null);
    return; // what is open stays, and is read already where it runs
  } finally {
    isLoading.value = false;
  }
  const last = shown.value.at(-1);
  if (last?.answer && !isEnded(last.answer)) readAgain(last, last.answer);
}

/** Read an answer that runs, from its beginning. @param {Message} answering @param {Answer} answer */
function readAgain(answering, answer) {
  answer.parts = [];
  return run(answering, answer, (onChange) => readOn(answer, onChange));
}

/**
 * Say something behind a message, and have it answered.
 *
 * @param {Pick<Message, "text" | "images" | "documents">} what @param {string | null} [parent] Absent = behind what is shown.
 */
export function say(what, parent = thread.head) {
  if (running.value) return;
  const said = { ...message(parent, "user"), ...what };
  add(thread, said);
  answer(said, [{ role: "user", content: contentOf(said) }]);
}

/** Answer a user's message once more. @param {Message} said */
export function answerAgain(said) {
  // What never came to the server is said again.
  if (!running.value) answer(said, said.itemId === null ? [{ role: "user", content: contentOf(said) }] : []);
}

/** @param {Message} said @param {object[]} input Of it, what the server does not have yet. */
function answer(said, input) {
  const answering = message(said.id, "assistant");
  answering.answer = newAnswer();
  add(thread, answering);
  touch();
  run(answering, answering.answer, async (onChange) => {
    if (!isIncognito.value && conversationId.value === null) await keep();
    const id = conversationId.value;
    const after = said.itemId ?? itemBefore(said);
    const asked = id === null ? { input: whole(answering) } : { input, conversation: { id, after } };
    const terms = { options: options.value, load: chatLoad() };
    await askAndRead(answering, /** @type {Answer} */ (answering.answer), asked, terms, onChange);
  });
}

async function keep() {
  const id = await createConversation();
  if (id === null) {
    isIncognito.value = true;
    return;
  }
  conversationId.value = id;
  go(id);
}

/** The last kept item before a message. @param {Message} said @returns {string | null} */
function itemBefore(said) {
  for (let before = saidBefore(said); before; before = saidBefore(before)) if (before.itemId) return before.itemId;
  return null;
}

/** @param {Message} answering */
function whole(answering) {
  return path({ ...thread, head: answering.parent })
    .map((each) => ({ role: each.role, content: each.answer ? textOf(each.answer) : contentOf(each) }))
    .filter((each) => each.content !== "");
}

/** @param {string | null} parent @param {Message["role"]} role @returns {Message} */
function message(parent, role) {
  return { id: newId(), parent, role, text: "", images: [], documents: [], answer: null, model: model.value, engine: engine.value, itemId: null };
}

/** @param {Message} of */
export const versionsOf = (of) => siblings(thread, of);

/** @param {Message} of */
export const saidBefore = (of) => (of.parent === null ? null : (thread.messages.get(of.parent) ?? null));

/** @param {Message} wanted */
export function showVersion(wanted) {
  show(thread, wanted);
  touch();
  const id = conversationId.value;
  const head = shown.value.at(-1)?.itemId;
  if (id && head) changeConversation(id, { head_item_id: head }).catch(complain);
}

/**
 * @param {Message} answering @param {Answer} answer
 * @param {(onChange: (isUrgent: boolean) => void) => Promise<void>} read
 */
async function run(answering, answer, read) {
  running.value = answering;
  const flusher = new Flusher(() => (ticks.value += 1));
  if (["idle", "error"].includes(chosenState.value?.state ?? "idle")) announce(texts.status.loading);
  await readToEnd(answer, () => read((isUrgent) => flusher.request(isUrgent)));
  await noteItems(answering, answer);
  const isShown = running.value === answering;
  if (isShown) running.value = null;
  flusher.end();
  touch();
  announce(endOf(answer));
  // A server that was killed has kept more than it can tell of the response.
  const id = conversationId.value;
  if (isShown && answer.state === "failed" && answer.responseId !== null && id !== null) load(id);
}

/** Learn by which items the server keeps what was just said. @param {Message} answering @param {Answer} answer */
async function noteItems(answering, answer) {
  const id = conversationId.value;
  // What was refused is not kept.
  if (id === null || running.value !== answering || answer.responseId === null) return;
  const said = saidBefore(answering);
  answering.itemId = answer.parts.findLast((part) => part)?.id ?? null;
  try {
    const items = await lastItems(id);
    if (said && said.itemId === null) said.itemId = items.find((each) => each.role === "user")?.id ?? null;
    await refreshEntries();
  } catch {
    // A server that has gone is told of elsewhere.
  }
}

/** Stop the engine; what was said stays. */
export async function stop() {
  if (running.value?.answer) await stopAnswer(running.value, running.value.answer, conversationId.value !== null);
}
