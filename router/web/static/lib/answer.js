// From the events of a response's stream to what is shown of it. Pure but for the answer that is changed in place.

/**
 * @typedef {import("../../types/api.js").components["schemas"]} Schemas
 * @typedef {Schemas["openai.Timings"]} Timings
 * @typedef {NonNullable<NonNullable<Timings["context"]>["wound"]>} Wound
 * @typedef {"waiting" | "prefill" | "writing" | "completed" | "incomplete" | "failed" | "cancelled"} AnswerState
 * @typedef {{kind: "thinking" | "text" | "call", text: string, name: string, id: string, isDone: boolean, began: number, ended: number | null}} Part
 * @typedef {{input: number, output: number, cached: number, reasoning: number}} Usage In tokens.
 * @typedef {object} Answer
 * @property {string | null} responseId
 * @property {AnswerState} state
 * @property {number} sequence Of the last event that was seen; -1 = none.
 * @property {(Part | undefined)[]} parts By output index.
 * @property {{done: number, total: number, cached: number} | null} progress Of the prompt, in tokens.
 * @property {Timings | null} timings
 * @property {Usage | null} usage
 * @property {Wound | null} wound What became of older turns before it; null = nothing.
 * @property {string | null} error
 * @property {boolean} isCutByLength
 * @property {boolean} isStopped Whether its reader has stopped it.
 * @property {number | null} firstAt When the first text came, in ms of the page's clock.
 */

/** @returns {Answer} */
export function newAnswer() {
  return {
    responseId: null,
    state: "waiting",
    sequence: -1,
    parts: [],
    progress: null,
    timings: null,
    usage: null,
    wound: null,
    error: null,
    isCutByLength: false,
    isStopped: false,
    firstAt: null,
  };
}

const ENDS = new Set(["completed", "incomplete", "failed", "cancelled"]);

/** @param {Answer} answer */
export function isEnded(answer) {
  return ENDS.has(answer.state);
}

/** The answer's own words, without thoughts and calls. @param {Answer} answer */
export function textOf(answer) {
  return answer.parts
    .filter((part) => part?.kind === "text")
    .map((part) => part?.text)
    .join("\n\n");
}

/**
 * Take an event in.
 *
 * @param {Answer} answer
 * @param {any} event Of `/v1/responses`.
 * @param {number} now
 */
export function applyEvent(answer, event, now) {
  if (event.sequence_number <= answer.sequence) return;
  answer.sequence = event.sequence_number;
  if (event.timings) answer.timings = event.timings;
  // What an earlier answer told already is not news.
  if (event.context_wound?.wound?.ms) answer.wound = event.context_wound.wound;
  if (event.response) applyResponse(answer, event.response, event.prompt_progress, now);
  else if (event.item) applyItem(answer, event, now);
  else if (typeof event.delta === "string") applyDelta(answer, event, now);
}

/** @param {Answer} answer @param {any} response @param {any} progress @param {number} now */
function applyResponse(answer, response, progress, now) {
  answer.responseId = response.id;
  if (progress) {
    answer.progress = { done: progress.processed, total: progress.total, cached: progress.cache };
    if (answer.state === "waiting") answer.state = "prefill";
  }
  if (!ENDS.has(response.status)) return;
  answer.state = response.status;
  answer.timings = response.timings ?? answer.timings;
  answer.error = response.error?.message ?? null;
  answer.isCutByLength = response.incomplete_details?.reason === "max_output_tokens";
  answer.usage = usageOf(response.usage);
  for (const part of answer.parts) if (part && !part.isDone) endPart(part, now);
}

/** @param {any} usage Of a response. @returns {Usage | null} */
export function usageOf(usage) {
  return (
    usage && {
      input: usage.input_tokens,
      output: usage.output_tokens,
      cached: usage.input_tokens_details.cached_tokens,
      reasoning: usage.output_tokens_details.reasoning_tokens,
    }
  );
}

/** @type {Record<string, Part["kind"]>} */
export const KINDS = { reasoning: "thinking", message: "text", function_call: "call", custom_tool_call: "call" };

/** @param {Answer} answer @param {any} event @param {number} now */
function applyItem(answer, event, now) {
  const kind = KINDS[event.item.type];
  if (!kind) return;
  const part = (answer.parts[event.output_index] ??= {
    kind,
    text: "",
    name: event.item.name ?? "",
    id: event.item.id,
    isDone: false,
    began: now,
    ended: null,
  });
  if (event.type !== "response.output_item.done") return;
  part.text = itemText(event.item) ?? part.text;
  endPart(part, now);
}

/** @param {any} item @returns {string | undefined} */
export function itemText(item) {
  return item.arguments ?? item.input ?? item.content?.map((/** @type {any} */ each) => each.text ?? "").join("");
}

/** @param {Answer} answer @param {any} event @param {number} now */
function applyDelta(answer, event, now) {
  const part = answer.parts[event.output_index];
  if (!part) return;
  part.text += event.delta;
  answer.firstAt ??= now;
  answer.state = "writing";
}

/** @param {Part} part @param {number} now */
function endPart(part, now) {
  part.isDone = true;
  part.ended ??= now;
}
