// The conversation that is open: what was said, and the answer that runs.
import { computed, signal } from "../vendor/preact.js";
import { applyEvent, isEnded, newAnswer, textOf } from "../lib/answer.js";
import { add, newThread, path, show, siblings } from "../lib/thread.js";
import { ApiError, ask, follow } from "../core/api.js";
import { chosenState } from "../core/server.js";
import { engine, model, options } from "../core/settings.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/texts.js";

/**
 * @typedef {import("../lib/thread.js").Message} Message
 * @typedef {import("../lib/answer.js").Answer} Answer
 */

// One change of the page for all that came within this time: a change per token would take the page's time, not the engine's.
const FLUSH_MS = 50;
const MAX_RECONNECTIONS = 8;

let thread = newThread();
/** Counts changes of what is said; who reads it is drawn anew. */
const version = signal(0);
/** The messages that are shown. */
export const shown = computed(() => (version.value, path(thread)));
/** The message whose answer runs, or null. */
export const running = signal(/** @type {Message | null} */ (null));
/** Counts the flushes of the answer that runs. */
export const ticks = signal(0);

const touch = () => (version.value += 1);
const newId = () => crypto.getRandomValues(new Uint32Array(2)).join("-");

export function startChat() {
  stop();
  thread = newThread();
  touch();
  document.getElementById("composer")?.focus();
}

/**
 * Say something behind a message, and have it answered.
 *
 * @param {string} text @param {string | null} [parent] Absent = behind what is shown.
 */
export function say(text, parent = thread.head) {
  if (running.value) return;
  const said = message(parent, "user");
  said.text = text;
  add(thread, said);
  answerTo(said);
}

/** Answer a user's message, also once more. @param {Message} said */
export function answerTo(said) {
  if (running.value) return;
  const answering = message(said.id, "assistant");
  answering.answer = newAnswer(performance.now());
  add(thread, answering);
  touch();
  run(answering, answering.answer);
}

/** @param {string | null} parent @param {Message["role"]} role @returns {Message} */
function message(parent, role) {
  return { id: newId(), parent, role, text: "", answer: null, model: model.value, engine: engine.value };
}

/** @param {Message} of */
export const versionsOf = (of) => siblings(thread, of);

/** @param {Message} wanted */
export function showVersion(wanted) {
  show(thread, wanted);
  touch();
}

/** @param {Message} of */
export const saidBefore = (of) => (of.parent === null ? null : (thread.messages.get(of.parent) ?? null));

/** What is sent of what was said. @param {Message} answering */
function inputOf(answering) {
  return path({ ...thread, head: answering.parent })
    .map((each) => ({ role: each.role, content: each.answer ? textOf(each.answer) : each.text }))
    .filter((each) => each.content !== "");
}

/** @param {Message} answering */
function requestOf(answering) {
  const chosen = options.value;
  return {
    model: answering.model,
    input: inputOf(answering),
    instructions: chosen.system || undefined,
    temperature: chosen.temperature ?? undefined,
    top_p: chosen.topP ?? undefined,
    max_output_tokens: chosen.maxTokens ?? undefined,
    seed: chosen.seed ?? undefined,
    // In the background, so that it goes on when the connection breaks; not behind others' requests all the same.
    background: true,
    stream: true,
    service_tier: "default",
    truncation: "auto",
    return_progress: true,
    timings_per_token: true,
  };
}

/** @param {Message} answering @param {Answer} answer */
async function run(answering, answer) {
  running.value = answering;
  const flusher = new Flusher();
  if (["idle", "error"].includes(chosenState.value?.state ?? "idle")) announce(texts.status.loading);
  try {
    await readAnswer(answering, answer, flusher);
  } catch (error) {
    answer.state = "failed";
    answer.error = error instanceof Error ? error.message : String(error);
  }
  running.value = null;
  flusher.end();
  touch();
  announceEnd(answer);
  forget(answer);
}

/** @param {Message} answering @param {Answer} answer @param {Flusher} flusher */
async function readAnswer(answering, answer, flusher) {
  /** @param {{data: any}} event */
  const onEvent = ({ data }) => {
    const hadText = answer.firstAt !== null;
    applyEvent(answer, data, performance.now());
    if (!hadText && answer.firstAt !== null) announce(texts.status.begins);
    flusher.request(!hadText);
  };
  await follow("/v1/responses", { body: requestOf(answering), headers: { "X-Mlxr-Engine": answering.engine } }, onEvent).catch((error) => {
    if (answer.responseId === null) throw error;
  });
  for (let attempt = 0; !isEnded(answer); attempt += 1) {
    if (attempt === MAX_RECONNECTIONS) throw new ApiError(texts.error.network);
    await new Promise((resolve) => setTimeout(resolve, Math.min(4000, 250 * 2 ** attempt)));
    const address = `/v1/responses/${answer.responseId}?stream=true&starting_after=${answer.sequence}`;
    const before = answer.sequence;
    await follow(address, {}, onEvent).catch((error) => {
      if (error.status !== null) throw error;
    });
    if (answer.sequence > before) attempt = 0;
  }
}

/** Stop the engine; what was said stays. */
export async function stop() {
  const id = running.value?.answer?.responseId;
  if (!id) return;
  try {
    await ask(`/v1/responses/${id}/cancel`, { method: "POST" });
  } catch (error) {
    complain(error);
  }
}

/** @param {Answer} answer */
function announceEnd(answer) {
  if (answer.state === "failed") announce(texts.chat.failed + answer.error);
  else if (answer.state === "cancelled") announce(texts.status.stopped);
  else announce(texts.status.complete(textOf(answer).split(/\s+/).filter(Boolean).length));
}

/** The page keeps what was said, the server need not. @param {Answer} answer */
function forget(answer) {
  if (answer.responseId) ask(`/v1/responses/${answer.responseId}`, { method: "DELETE" }).catch(() => {});
}

/** Draws what came, at most every `FLUSH_MS`, and the first text at once. */
class Flusher {
  constructor() {
    /** @type {number | null} */
    this._timer = null;
    this._last = 0;
  }

  /** @param {boolean} isUrgent */
  request(isUrgent) {
    if (this._timer !== null) return;
    const wait = isUrgent ? 0 : Math.max(0, this._last + FLUSH_MS - performance.now());
    this._timer = setTimeout(() => {
      if (document.hidden) this._flush();
      else requestAnimationFrame(() => this._flush());
    }, wait);
  }

  end() {
    if (this._timer !== null) clearTimeout(this._timer);
    ticks.value += 1;
  }

  _flush() {
    this._timer = null;
    this._last = performance.now();
    ticks.value += 1;
  }
}
