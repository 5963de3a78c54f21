import assert from "node:assert/strict";
import test from "node:test";
import { choicesOf, inWords, inputOf, said, textOf, valueOf } from "../static/sheet/values.js";

const field = (kind, more = {}) => ({ key: "a.b", what: "", takes: "", unit: null, kind, choices: [], is_free: true, is_nullable: false, ...more });

test("what is typed becomes a value of the key's kind, and is left to the server where it is none", () => {
  assert.equal(valueOf(field("integer"), " 8 "), 8);
  assert.equal(valueOf(field("number"), "0.5"), 0.5);
  assert.equal(valueOf(field("integer"), "eight"), "eight");
  assert.equal(valueOf(field("integer"), ""), "");
  assert.equal(valueOf(field("integer", { is_nullable: true }), " "), null);
  assert.equal(valueOf(field("number", { choices: ["forever"] }), "forever"), "forever");
  assert.equal(valueOf(field("boolean"), "true"), true);
  assert.equal(valueOf(field("boolean", { choices: ["repeated"] }), "repeated"), "repeated");
  assert.equal(valueOf(field("text"), " kept as it is "), " kept as it is ");
  assert.equal(valueOf(field("text", { is_nullable: true }), ""), null);
});

test("lists are lines, and lists of objects JSON", () => {
  assert.deepEqual(valueOf(field("list"), "one\n\n two \n"), ["one", "two"]);
  assert.deepEqual(valueOf(field("list"), ""), []);
  assert.deepEqual(valueOf(field("list"), '[{"role": "user"}]'), [{ role: "user" }]);
  assert.equal(valueOf(field("list"), "[broken"), "[broken");
  assert.equal(textOf(["one", "two"]), "one\ntwo");
  assert.deepEqual(valueOf(field("list"), textOf([{ role: "user" }])), [{ role: "user" }]);
  assert.deepEqual(valueOf(field("object"), textOf({ a: "b" })), { a: "b" });
});

test("a key is chosen where it takes nothing but its choices, and typed otherwise", () => {
  assert.equal(inputOf(field("boolean")), "choice");
  assert.deepEqual(choicesOf(field("boolean", { choices: ["repeated"] })), ["true", "false", "repeated"]);
  assert.equal(inputOf(field("text", { choices: ["auto", "mlx"], is_free: false })), "choice");
  assert.equal(inputOf(field("integer", { choices: ["all"] })), "text");
  assert.equal(inputOf(field("list")), "lines");
});

test("large numbers are said in words too", () => {
  assert.equal(inWords("bytes", 2_000_000_000), "2.0 GB");
  assert.equal(inWords("s", 600), "10 min");
  assert.equal(inWords("s", 86_400), "24 h");
  assert.equal(inWords("s", 2_592_000), "30 days");
  assert.equal(inWords("s", 30), null);
  assert.equal(inWords(null, 4096), null);
  assert.equal(said("tokens", 512), "512 tokens");
  assert.equal(said(null, []), "[]");
  assert.equal(said(null, null), "");
});
