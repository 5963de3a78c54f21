import assert from "node:assert/strict";
import test from "node:test";
import { difference } from "../static/lib/difference.js";
import { amount, answerFigures, measuredNames, withInterval } from "../static/lib/figures.js";
import { contestant, differences, fittingSides, loadHeader, orderOf } from "../static/compare/sides.js";
import { counted } from "../static/compare/tally.js";

const form = (engine, quantization, bits, bytes) => ({ engine, quantization, bits_per_weight: bits, weight_bytes: bytes });
const BOTH = { id: "m", engines: ["llamacpp", "mlx"], forms: [form("llamacpp", "Q4_0", 4.5, 92_000_000), form("mlx", "4bit-g32", 5, 84_000_000)] };
const ONE = { id: "n", engines: ["llamacpp"], forms: [form("llamacpp", "F32", 32, 5)] };
const side = (model, engine, load = {}, speculation = "") => ({ model, engine, load, speculation });
const states = (...ready) => new Map(ready.map((key) => [key, { state: "ready" }]));

test("sides are both engines of a model, or two models, until others are chosen that are there", () => {
  assert.deepEqual(fittingSides(null, [ONE, BOTH], "m"), [side("m", "llamacpp"), side("m", "mlx")]);
  assert.deepEqual(fittingSides(null, [ONE, BOTH], "n"), [side("n", "llamacpp"), side("m", "mlx")]);
  assert.deepEqual(fittingSides(null, [ONE], "gone"), [side("n", "llamacpp"), side("n", "llamacpp")]);
  assert.equal(fittingSides(null, [], "m"), null);
  const chosen = [side("n", "mlx", { threads: "2" }), side("gone", "mlx")];
  assert.deepEqual(fittingSides(chosen, [ONE, BOTH], "m"), [side("n", "llamacpp", { threads: "2" }), side("m", "mlx")]);
});

test("a side's load is written as the header and the benchmark have it, without what its engine lacks", () => {
  const load = { kv_type: "q8_0", threads: "2", context_length: "4096" };
  assert.equal(loadHeader(side("m", "llamacpp", load)), "context_length=4096, threads=2, kv_type=q8_0");
  assert.equal(loadHeader(side("m", "mlx", load)), "context_length=4096");
  assert.equal(contestant(side("m", "mlx", load)), "m@mlx context_length=4096");
  assert.equal(contestant(side("m", "llamacpp", { threads: "" })), "m@llamacpp");
});

test("a draft model is offered where the model has one on llamacpp, and named as the difference", () => {
  const models = [{ ...BOTH, draft: "m-small" }, ONE];
  const [a, b] = fittingSides([side("m", "llamacpp", {}, "draft"), side("m", "mlx", {}, "draft")], models, "m");
  assert.deepEqual([a.speculation, b.speculation], ["draft", ""]);
  assert.equal(fittingSides([side("n", "llamacpp", {}, "draft"), b], models, "m")[0].speculation, "");
  assert.deepEqual(differences([a, side("m", "llamacpp", {}, "off")], models), [{ what: "speculation", values: ["draft (m-small)", "off"] }]);
  assert.equal(contestant(a), "m@llamacpp speculation=draft");
});

test("differences name weights and settings, and nothing that is the same", () => {
  const found = differences([side("m", "llamacpp", { threads: "2" }), side("m", "mlx", { threads: "2" })], [BOTH]);
  assert.deepEqual(found, [
    { what: "engine", values: ["llamacpp", "mlx"] },
    { what: "weights", values: ["Q4_0, 4.5 bits per weight, 92.0 MB", "4bit-g32, 5.0 bits per weight, 84.0 MB"] },
    { what: "threads", values: ["2", ""] },
  ]);
  assert.deepEqual(differences([side("m", "mlx"), side("m", "mlx")], [BOTH]), []);
});

test("who is loaded is asked first; else who was asked last, so that one load is saved", () => {
  const pair = [side("m", "llamacpp"), side("m", "mlx")];
  assert.deepEqual(orderOf(pair, states("mlx m"), null), [1, 0]);
  assert.deepEqual(orderOf(pair, states("llamacpp m"), 1), [0, 1]);
  assert.deepEqual(orderOf(pair, states(), null), [0, 1]);
  assert.deepEqual(orderOf(pair, states(), 1), [1, 0]);
  const same = [side("m", "mlx"), side("m", "mlx", { context_length: "4096" })];
  assert.deepEqual(orderOf(same, states("mlx m"), 1), [1, 0]);
});

test("a difference is of words, with what both have at the beginning", () => {
  const found = difference("The sky is blue today.", "The sky is grey today.");
  assert.deepEqual(found.pieces.filter(({ of }) => of !== null).map(({ text, of }) => [text.trim(), of]), [["blue", 0], ["grey", 1]]);
  assert.deepEqual([found.share, found.numSame], [0.8, 3]);
  for (const of of [0, 1]) {
    const texts = ["The sky is blue today.", "The sky is grey today."];
    assert.equal(found.pieces.filter((piece) => piece.of === null || piece.of === of).map(({ text }) => text).join(""), texts[of]);
  }
  assert.equal(difference("", "").share, 1);
  assert.equal(difference("a", "b").share, 0);
});

test("texts without spaces are compared by their words too", () => {
  const found = difference("今日は天気がいいです", "今日は天気が悪いです");
  assert.ok(found.share > 0.3 && found.share < 1);
  assert.ok(found.numSame >= 2);
});

test("votes are of a pair, whoever was A", () => {
  let tally = counted({}, ["x", "y"], 0);
  tally = counted(tally, ["y", "x"], 1);
  tally = counted(tally, ["y", "x"], 0);
  tally = counted(counted(tally, ["x", "y"], "both"), ["x", "y"], "none");
  assert.deepEqual(Object.values(tally), [{ names: ["x", "y"], won: [2, 1], both: 1, none: 1 }]);
});

test("figures have the unit that their name ends with", () => {
  assert.equal(amount("ttft_p50_ms", 1234), "1.2 s");
  assert.equal(amount("load_s", 0.5), "500 ms");
  assert.equal(amount("decode_tokens_per_s", 12.34), "12.3 tokens/s");
  assert.equal(amount("freed_bytes", 412e6), "412 MB");
  assert.equal(amount("num_tokens", 7), "7");
  const figure = { num: 3, value: 10, interval: { low: 9, mid: 10, high: 11 }, ratio: null, verdict: null };
  assert.deepEqual(withInterval("decode_tokens_per_s", figure), { value: "10.0 tokens/s", between: ["9.0", "11.0 tokens/s"] });
  assert.equal(withInterval("load_s", { ...figure, value: null }), null);
  assert.deepEqual(measuredNames([{ figures: { a: { value: null }, b: { value: null } } }, { figures: { a: { value: 1 }, b: { value: null } } }]), ["a"]);
});

test("the time to the first token of an answer has its load and its waiting in it", () => {
  const timings = { prompt_ms: 5, load_ms: 100, queue_ms: 10, prompt_per_second: 3, predicted_per_second: null, predicted_n: 1 };
  assert.equal(answerFigures(timings).first_token_ms, 115);
  assert.equal(answerFigures({ ...timings, load_ms: 0 }).load_ms, null);
  assert.equal(answerFigures(null).num_tokens, null);
});
