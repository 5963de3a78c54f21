import assert from "node:assert/strict";
import test from "node:test";
import { growth, lineOf, pointOf, sumOf, timeline, writing } from "../static/machine/readings.js";

test("a point has the server's numbers, and none where it has none", () => {
  const status = { memory_available_bytes: 5, gateway_rss_bytes: null, workers: [{ rss_bytes: 2 }, { rss_bytes: 3 }] };
  assert.deepEqual(pointOf(status, 1), { at: 1, available: 5, gateway: null, workers: 5 });
  assert.equal(pointOf({ ...status, workers: [] }, 1).workers, 0);
  assert.equal(pointOf({ ...status, workers: [{ rss_bytes: null }] }, 1).workers, null);
});

test("swaps stand in the timeline with what was before and after them, and lines are broken where nobody looked", () => {
  const point = (at) => ({ at, available: 10, gateway: 1, workers: 2 });
  const swap = { at: 103, event: "unload", unload_ms: 1000, available_before_bytes: 7, available_after_bytes: 9 };
  const [at, available, workers] = timeline([point(100), point(104), point(150)], [swap, { at: 104, event: "load", load_ms: 3 }], 160);
  assert.deepEqual(at, [100, 102, 103, 104, 150 - 0.001, 150]);
  assert.deepEqual(available, [10, 7, 9, 10, null, 10]);
  assert.deepEqual(workers, [2, undefined, undefined, 2, null, 2]);
  assert.deepEqual(timeline([point(100)], [], 1000)[0], []);
});

test("rates come from the server's counters only", () => {
  const metrics = { metrics: [{ name: "a", series: [{ labels: { type: "x" }, value: 2 }, { labels: { type: "y" }, value: 5 }] }] };
  assert.equal(sumOf(metrics, "a", { type: "y" }), 5);
  assert.equal(sumOf(metrics, "a"), 7);
  assert.equal(sumOf(metrics, "b"), null);
  assert.equal(growth({ at: 0, value: 2 }, { at: 5000, value: 12 }), 2);
  // A server that was started anew counts from the beginning.
  assert.equal(growth({ at: 0, value: 12 }, { at: 5000, value: 2 }), null);
  assert.equal(growth(undefined, { at: 5000, value: 2 }), null);
});

test("what is written now is told by the requests that ran at both looks", () => {
  const request = (id, age_s, ...output_tokens) => ({ id, age_s, output_tokens });
  assert.equal(writing([request("a", 1, 10), request("b", 2, 0, 4)], [request("a", 3, 50), request("b", 4, 4, 4), request("c", 1, 9)]), 22);
  assert.equal(writing([], [request("a", 1, 10)]), null);
});

test("an event is one line", () => {
  assert.equal(lineOf({ type: "swap", at: 1, event: "load", load_ms: 1.23456, reason: null }), "event load, load_ms 1.23");
});
