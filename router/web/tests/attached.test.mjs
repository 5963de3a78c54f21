import assert from "node:assert/strict";
import test from "node:test";
import { contentOf, partsOf, sizeToSend } from "../static/lib/attached.js";

const PICTURE = "data:image/png;base64,AA==";

test("a message is a text, or its documents, pictures and text", () => {
  assert.equal(contentOf({ text: "hi", images: [], documents: [] }), "hi");
  const documents = [
    { name: "new.pdf", id: "doc_1", text: "…" },
    { name: "old.pdf", id: null, text: "Old." },
  ];
  assert.deepEqual(contentOf({ text: "", images: [PICTURE], documents }), [
    { type: "input_file", filename: "new.pdf", file_id: "doc_1" },
    { type: "input_file", filename: "old.pdf", text: "Old." },
    { type: "input_image", image_url: PICTURE },
  ]);
});

test("a kept message's documents are no words of the user's, and pictures of other servers are not shown", () => {
  const content = [
    { type: "input_file", filename: "a.md", text: "Said by a file." },
    { type: "input_image", image_url: "http://other.example/x.png" },
    { type: "input_image", image_url: PICTURE },
    { type: "input_image", image_url: null, file_id: "file_1" },
    { type: "input_text", text: "Hello" },
  ];
  const parts = partsOf({ content });
  assert.deepEqual(parts, { text: "Hello", images: [PICTURE], documents: [{ name: "a.md", id: null, text: "Said by a file." }] });
  assert.deepEqual(partsOf({ content: contentOf({ ...parts, images: [] }) }), { ...parts, images: [] });
  assert.equal(partsOf({ content: "plain" }).text, "plain");
});

test("pictures are shrunk with their proportions, and never enlarged", () => {
  assert.deepEqual(sizeToSend(3136, 1568), [1568, 784]);
  assert.deepEqual(sizeToSend(10, 20), [10, 20]);
  assert.deepEqual(sizeToSend(100_000, 1), [1568, 1]);
});
