import assert from "node:assert/strict";
import test from "node:test";
import { isEnded, textOf } from "../static/lib/answer.js";
import { path, siblings } from "../static/lib/thread.js";
import { threadOf } from "../static/lib/tree.js";

const user = (id, parent, text) => ({ parent_id: parent, response_id: null, is_output: false, item: { type: "message", id, role: "user", content: [{ type: "input_text", text }] } });
const output = (id, parent, response, item) => ({ parent_id: parent, response_id: response, is_output: true, item: { id, ...item } });
const said = (text) => ({ type: "message", role: "assistant", content: [{ type: "output_text", text }] });
const answer = (id, after, status = "completed") => ({ response_id: id, after_item_id: after, status, facts: { model: "m" } });

const TREE = {
  conversation: { head_item_id: "u2" },
  items: [
    { parent_id: null, response_id: null, is_output: false, item: { type: "message", id: "s", role: "system", content: [] } },
    user("u1", "s", "One?"),
    output("r1", "u1", "resp_1", { type: "reasoning", content: [{ text: "Hm." }] }),
    output("a1", "r1", "resp_1", said("One.")),
    output("a1b", "u1", "resp_2", said("Uno.")),
    user("u2", "a1", "Two?"),
  ],
  answers: [answer("resp_1", "u1"), answer("resp_2", "u1", "incomplete"), answer("resp_3", "u2", "in_progress")],
};

test("a kept conversation becomes messages with branches, and an answer that runs is at its head", () => {
  const thread = threadOf(TREE);
  const shown = path(thread);
  assert.deepEqual(shown.map((each) => [each.role, each.answer ? textOf(each.answer) : each.text, each.itemId]), [
    ["user", "One?", "u1"],
    ["assistant", "One.", "a1"],
    ["user", "Two?", "u2"],
    ["assistant", "", null],
  ]);
  assert.deepEqual(shown[1].answer.parts.map((part) => part.kind), ["thinking", "text"]);
  assert.deepEqual(siblings(thread, shown[1]).map((each) => each.id), ["resp_1", "resp_2"]);
  assert.ok(!isEnded(shown[3].answer));
});

test("where older turns were summarised is no part of the answer's words", () => {
  const wound = { turns: 12, tokens_before: 900, tokens_after: 300 };
  const items = [user("u1", null, "One?"), output("c1", "u1", "resp_1", { type: "compaction", wound }), output("a1", "c1", "resp_1", said("One."))];
  const [, { answer: shown }] = path(threadOf({ conversation: { head_item_id: "a1" }, items, answers: [answer("resp_1", "u1")] }));
  assert.deepEqual(shown.wound, wound);
  assert.deepEqual(shown.parts.map((part) => part.text), ["One."]);
});
