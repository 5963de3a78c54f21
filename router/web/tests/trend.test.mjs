import assert from "node:assert/strict";
import test from "node:test";
import { figuresOf, scenariosOf, trendOf } from "../static/history/trend.js";
import { sectionsOf } from "../static/settings/sections.js";

const figure = (value) => ({ value, interval: value === null ? null : { low: value - 1, mid: value, high: value + 1 } });
const run = (bench_id, created_at, labels, values, isVoid = false) => ({
  bench_id,
  created_at,
  contestants: labels.map((label) => ({ label })),
  summary: {
    scenarios: [
      { name: "chat", is_void: isVoid, skipped: null, contestants: values.map((value, contestant) => ({ contestant, figures: { rate: figure(value), other_ms: figure(null) } })) },
      { name: "long", is_void: false, skipped: "too long", contestants: [] },
    ],
  },
});

test("a figure is a line per contestant over the runs that have it, oldest first", () => {
  const runs = [run("c", 3, ["mlx"], [5]), run("a", 1, ["llamacpp", "mlx"], [2, 3]), run("b", 2, ["mlx"], [null]), run("v", 4, ["mlx"], [9], true)];
  assert.deepEqual(scenariosOf(runs), ["chat"]);
  assert.deepEqual(figuresOf(runs, "chat"), ["rate"]);
  const trend = trendOf(runs, "chat", "rate");
  assert.deepEqual(trend.runs.map(({ bench_id }) => bench_id), ["a", "c"]);
  assert.deepEqual(trend.lines.map(({ label, values }) => [label, values.map((each) => each?.value ?? null)]), [["llamacpp", [2, null]], ["mlx", [3, 5]]]);
});

test("keys stand by their sections, those with all words of the filter", () => {
  const keys = ["engine", "limits.max_queue", "limits.keep_alive_s", "memory.tier"].map((key) => ({ key, what: key === "memory.tier" ? "Whose defaults hold" : "A queue" }));
  assert.deepEqual(sectionsOf(keys, "").map(({ name, keys: of }) => [name, of.length]), [["", 1], ["limits", 2], ["memory", 1]]);
  assert.deepEqual(sectionsOf(keys, "QUEUE limits").map(({ keys: of }) => of.map(({ key }) => key)), [["limits.max_queue", "limits.keep_alive_s"]]);
  assert.deepEqual(sectionsOf(keys, "nothing"), []);
});
