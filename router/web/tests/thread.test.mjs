import assert from "node:assert/strict";
import test from "node:test";
import { add, newThread, path, show, siblings } from "../static/lib/thread.js";
import { bytes, duration, friendlyName } from "../static/lib/format.js";

const message = (id, parent, role) => ({ id, parent, role, text: id, answer: null, model: "m", engine: "auto" });
const ids = (messages) => messages.map(({ id }) => id);

test("an edit is a sibling, and nothing is lost by looking at the other", () => {
  const thread = newThread();
  for (const [id, parent, role] of [["u1", null, "user"], ["a1", "u1", "assistant"], ["u2", "a1", "user"], ["a2", "u2", "assistant"], ["u1b", null, "user"], ["a1b", "u1b", "assistant"]]) {
    add(thread, message(id, parent, role));
  }
  assert.deepEqual(ids(path(thread)), ["u1b", "a1b"]);
  assert.deepEqual(ids(siblings(thread, thread.messages.get("u1b"))), ["u1", "u1b"]);
  show(thread, thread.messages.get("u1"));
  assert.deepEqual(ids(path(thread)), ["u1", "a1", "u2", "a2"]);
});

test("numbers and names are written as people read them", () => {
  assert.deepEqual([bytes(999), bytes(1500), bytes(412_000_000)], ["999 B", "1.5 kB", "412 MB"]);
  assert.deepEqual([duration(12.4), duration(1234), duration(61_000)], ["12 ms", "1.2 s", "1 min 1 s"]);
  assert.equal(friendlyName("org/smollm2-135m-instruct"), "Smollm2 135M Instruct");
  assert.equal(friendlyName("qwen3-4b-4bit+poems"), "Qwen3 4B 4BIT + poems");
});
