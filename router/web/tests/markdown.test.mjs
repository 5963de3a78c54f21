import assert from "node:assert/strict";
import test from "node:test";
import { MarkdownText } from "../static/lib/markdown.js";
import { decodeEntities } from "../static/lib/entities.js";
import { safeAddress } from "../static/lib/links.js";

const SAMPLE = [
  "# Title\n\nA **bold** word, `code` and a [link](https://a.example).\n\n",
  "- one\n- two\n  - three\n\n1. first\n2. second\n\n",
  "```python\nprint('a')\n\n# not a title\n```\n\n",
  "| a | b |\n|---|---|\n| 1 | $x$ |\n\n> quoted\n> more\n\n$$\nx^2\n$$\n\nSetext\n======\n\nlast line",
].join("");

const shape = (blocks) => blocks.map(({ key, token }) => [key, token.type, token.raw.trimEnd()]);
const whole = (text) => new MarkdownText().blocks(text, true);

test("a text that comes in pieces of any size ends as the same blocks", () => {
  for (const size of [1, 3, 7, 50]) {
    const growing = new MarkdownText();
    for (let end = size; end < SAMPLE.length; end += size) growing.blocks(SAMPLE.slice(0, end), false);
    assert.deepEqual(shape(growing.blocks(SAMPLE, true)), shape(whole(SAMPLE)));
  }
});

test("a block that is final stays the same object", () => {
  const growing = new MarkdownText();
  const before = growing.blocks("One.\n\nTwo.\n\nThr", false).filter((block) => block.isFinal);
  const after = growing.blocks("One.\n\nTwo.\n\nThree.\n\nFour", false);
  assert.equal(before.length, 2);
  before.forEach((block, index) => assert.equal(after[index], block));
});

const maths = (text) => {
  const found = [];
  const walk = (tokens) => tokens?.forEach((token) => {
    if (token.type === "math") found.push(token.text);
    walk(token.tokens);
    token.items?.forEach((item) => walk(item.tokens));
    token.rows?.flat().forEach((cell) => walk(cell.tokens));
  });
  walk(whole(text).map((block) => block.token));
  return found;
};

for (const [text, expected] of [
  ["$x$", ["x"]],
  ["so $a+b$ and \\(c\\)", ["a+b", "c"]],
  ["$3000 and $3000", []],
  ["costs $5, or $ 6 $", []],
  ["\\[\nx\n\\]", ["x"]],
  ["$$\n\\frac{1}{2}\n$$", ["\\frac{1}{2}"]],
  ["`$x$` and\n\n```\n$y$\n```", []],
  ["| $a$ | b |\n|---|---|\n| $c$ | d |", ["c"]],
  ["- $x_1$ is *one*", ["x_1"]],
  ["a $x\ny$ b", []],
]) {
  test(`formulas of ${JSON.stringify(text)}`, () => assert.deepEqual(maths(text), expected));
}

test("references of characters are read without HTML", () => {
  assert.equal(decodeEntities("a &amp; b &lt;c&gt; &#65;&#x42; &unknown; &#0;"), "a & b <c> AB &unknown; \ufffd");
});

test("only addresses of pages and letters become links", () => {
  assert.equal(safeAddress("https://a.example/x"), "https://a.example/x");
  assert.equal(safeAddress("mailto:a@b.example"), "mailto:a@b.example");
  for (const bad of ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "/v1/models", "//evil.example", "\u0001javascript:x", "blob:x", "https://"]) {
    assert.equal(safeAddress(bad), null, bad);
  }
});

test("60 KB in 300 steps are read in blocks, not each time as a whole", () => {
  const text = SAMPLE.repeat(1 + 60_000 / SAMPLE.length);
  const growing = new MarkdownText();
  let read = 0;
  const original = growing._read.bind(growing);
  growing._read = (isWhole) => {
    read += growing._text.length - growing._start;
    original(isWhole);
  };
  for (let end = 0; end < text.length; end += 200) growing.blocks(text.slice(0, end), false);
  assert.ok(read < 10 * text.length, `${read} characters were read`);
});
