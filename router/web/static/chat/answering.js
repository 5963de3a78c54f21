// An answer on its way from the server to the page: asked for, read, taken up again where the connection broke, stopped.
import { applyEvent, isEnded, textOf } from "../lib/answer.js";
import { ApiError, ask, follow } from "../core/api.js";
import { loadHeaders } from "../core/server.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/texts.js";

/**
 * @typedef {import("../lib/thread.js").Message} Message
 * @typedef {import("../lib/answer.js").Answer} Answer
 * @typedef {{input: object[], conversation?: {id: string, after: string | null}}} Asked
 * @typedef {{options: import("../core/settings.js").ChatOptions, load: string, speculation?: string}} Terms `load` as in X-Mlxr-Load, `speculation` as in X-Mlxr-Speculation; empty = as it is set.
 */

// About a minute and a half, in which a server has started again.
const MAX_RECONNECTIONS = 24;

/** @param {Message} answering @param {Asked} asked @param {Terms["options"]} chosen */
function requestOf(answering, asked, chosen) {
  return {
    ...asked,
    model: answering.model,
    instructions: chosen.system || undefined,
    temperature: chosen.temperature ?? undefined,
    top_p: chosen.topP ?? undefined,
    max_output_tokens: chosen.maxTokens ?? undefined,
    seed: chosen.seed ?? undefined,
    // What is not kept leaves nothing. What is runs in the background, so that it goes on when the page is closed or the
    // connection breaks; not behind others' requests all the same.
    ...(asked.conversation ? { background: true, service_tier: "default" } : { store: false }),
    stream: true,
    truncation: "auto",
    return_progress: true,
    timings_per_token: true,
  };
}

/** @param {Answer} answer @param {(isUrgent: boolean) => void} onChange */
function reader(answer, onChange) {
  return (/** @type {{data: any}} */ { data }) => {
    const hadText = answer.firstAt !== null;
    applyEvent(answer, data, performance.now());
    if (!hadText && answer.firstAt !== null) announce(texts.status.begins);
    onChange(!hadText);
  };
}

/**
 * Ask, and read the answer to its end.
 *
 * @param {Message} answering @param {Answer} answer @param {Asked} asked @param {Terms} terms @param {(isUrgent: boolean) => void} onChange
 */
export async function askAndRead(answering, answer, asked, terms, onChange) {
  const onEvent = reader(answer, onChange);
  const headers = {
    "X-Mlxr-Engine": answering.engine,
    "X-Request-Id": answering.id,
    ...loadHeaders(terms.load),
    ...(terms.speculation ? { "X-Mlxr-Speculation": terms.speculation } : {}),
  };
  await follow("/v1/responses", { body: requestOf(answering, asked, terms.options), headers }, onEvent).catch((error) => {
    if (answer.responseId === null || !asked.conversation) throw error;
  });
  if (asked.conversation) await readOn(answer, onChange);
  else if (!isEnded(answer)) throw new ApiError(texts.error.network);
}

/**
 * Read an answer that runs in the background to its end.
 *
 * @param {Answer} answer @param {(isUrgent: boolean) => void} onChange
 */
export async function readOn(answer, onChange) {
  const onEvent = reader(answer, onChange);
  for (let attempt = 0; !isEnded(answer); attempt += 1) {
    if (attempt === MAX_RECONNECTIONS) throw new ApiError(texts.error.network);
    if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(4000, 125 * 2 ** attempt)));
    const before = answer.sequence;
    const from = before < 0 ? "" : `&starting_after=${before}`;
    await follow(`/v1/responses/${answer.responseId}?stream=true${from}`, {}, onEvent).catch((error) => {
      if (error.status !== null) throw error;
    });
    if (answer.sequence > before) attempt = 0;
  }
}

/** Read an answer, and give it an end where that fails. @param {Answer} answer @param {() => Promise<void>} read */
export async function readToEnd(answer, read) {
  try {
    await read();
  } catch (error) {
    answer.state = "failed";
    answer.error = error instanceof Error ? error.message : String(error);
  }
  if (answer.isStopped && answer.state === "failed") answer.state = "cancelled"; // as a request that is not kept says it
}

/** Stop the engine; what came stays. @param {Message} answering @param {Answer} answer @param {boolean} isKept */
export async function stopAnswer(answering, answer, isKept) {
  if (isKept && !answer.responseId) return;
  answer.isStopped = true;
  try {
    // What is not kept has no response to name before its stream begins, only its request.
    const path = isKept ? `/v1/responses/${answer.responseId}/cancel` : `/v1/mlxr/requests/${answering.id}/cancel`;
    await ask(path, { method: "POST" });
  } catch (error) {
    complain(error);
  }
}

/** How an answer ended, for those who do not see it. @param {Answer} answer */
export function endOf(answer) {
  if (answer.state === "failed") return texts.chat.failed + answer.error;
  if (answer.state === "cancelled") return texts.status.stopped;
  return texts.status.complete(textOf(answer).split(/\s+/).filter(Boolean).length);
}
