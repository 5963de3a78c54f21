import assert from "node:assert/strict";
import test from "node:test";
import { applyEvent, isEnded, newAnswer, textOf } from "../static/lib/answer.js";

const EVENTS = [
  { type: "response.created", response: { id: "resp_1", status: "queued" } },
  { type: "response.in_progress", response: { id: "resp_1", status: "in_progress" }, prompt_progress: { processed: 5, total: 10, cache: 2 } },
  { type: "response.output_item.added", output_index: 0, item: { type: "reasoning", id: "rs_1" } },
  { type: "response.reasoning_text.delta", output_index: 0, delta: "Hm." },
  { type: "response.output_item.done", output_index: 0, item: { type: "reasoning", id: "rs_1", content: [{ text: "Hm." }] } },
  { type: "response.output_item.added", output_index: 1, item: { type: "message", id: "msg_1" } },
  { type: "response.output_text.delta", output_index: 1, delta: "Hel", timings: { predicted_per_second: 5 } },
  { type: "response.output_text.delta", output_index: 1, delta: "lo" },
  {
    type: "response.incomplete",
    response: {
      id: "resp_1",
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      usage: {
        input_tokens: 10,
        output_tokens: 3,
        input_tokens_details: { cached_tokens: 2 },
        output_tokens_details: { reasoning_tokens: 1 },
      },
    },
  },
].map((event, index) => ({ ...event, sequence_number: index }));

const after = (events) => {
  const answer = newAnswer();
  events.forEach((event, index) => applyEvent(answer, event, index));
  return answer;
};

test("a stream becomes thoughts, text, figures and an end", () => {
  const answer = after(EVENTS);
  assert.equal(textOf(answer), "Hello");
  assert.deepEqual(answer.parts.map((part) => [part.kind, part.text, part.isDone]), [
    ["thinking", "Hm.", true],
    ["text", "Hello", true],
  ]);
  assert.ok(isEnded(answer) && answer.isCutByLength);
  assert.deepEqual(answer.usage, { input: 10, output: 3, cached: 2, reasoning: 1 });
  assert.equal(answer.timings.predicted_per_second, 5);
});

test("the prompt's progress is told until text comes", () => {
  const answer = after(EVENTS.slice(0, 2));
  assert.equal(answer.state, "prefill");
  assert.deepEqual(answer.progress, { done: 5, total: 10, cached: 2 });
});

test("events that come again after a reconnection change nothing", () => {
  assert.deepEqual(after([...EVENTS.slice(0, 7), ...EVENTS.slice(3)]).parts[1].text, "Hello");
});

test("that older turns were summarised is told by the answer that did it", () => {
  const wound = { turns: 12, tokens_before: 900, tokens_after: 300, ms: 12.5 };
  const told = (ms) => after([{ sequence_number: 0, type: "response.in_progress", response: { id: "r" }, context_wound: { wound: { ...wound, ms } } }]).wound;
  assert.deepEqual(told(12.5), wound);
  assert.equal(told(0), null);
});
