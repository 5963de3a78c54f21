// Markdown that comes in pieces, as blocks of tokens. Pure; no HTML is written anywhere.
import { Marked } from "../vendor/marked.js";

/**
 * @typedef {import("../vendor/marked.js").Token} Token
 * @typedef {{type: "math", raw: string, text: string, isBlock: boolean}} MathToken
 * @typedef {{key: number, token: Token, isFinal: boolean}} Block `key` is where it begins.
 */

const BLOCK_MATH = /^ {0,3}(?:\$\$([^$]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/;
const INLINE_MATH = /^(?:\$\$([^$\n]+?)\$\$|\\\(([\s\S]+?)\\\)|\\\[([\s\S]+?)\\\])/;
// Pandoc, "Extension: tex_math_dollars": "the opening $ must have a non-space character immediately to its right, while
// the closing $ must have a non-space character immediately to its left, and must not be followed immediately by a digit".
const DOLLAR_MATH = /^\$(?![\s$])((?:\\.|[^\\$\n])*?(?:\\.|[^\\$\s]))\$(?![\d$])/;

/** @param {string | undefined} source @param {boolean} isBlock @param {RegExpExecArray} match */
const mathToken = (match, isBlock, source) => ({ type: "math", raw: match[0], text: (source ?? "").trim(), isBlock });

/** @type {import("marked").TokenizerExtension} */
const blockMath = {
  name: "blockMath",
  level: "block",
  start: (source) => source.match(/(?:^|\n) {0,3}(?:\$\$|\\\[)/)?.index,
  tokenizer(source) {
    const match = BLOCK_MATH.exec(source);
    return match ? mathToken(match, true, match[1] ?? match[2]) : undefined;
  },
};

/** @type {import("marked").TokenizerExtension} */
const inlineMath = {
  name: "inlineMath",
  level: "inline",
  start: (source) => source.match(/\$|\\[([]/)?.index,
  tokenizer(source) {
    const long = INLINE_MATH.exec(source);
    if (long) return mathToken(long, long[2] === undefined, long[1] ?? long[2] ?? long[3]);
    const short = DOLLAR_MATH.exec(source);
    return short ? mathToken(short, false, short[1]) : undefined;
  },
};

const marked = new Marked({ gfm: true, extensions: [blockMath, inlineMath] });

/** Splits a growing text into blocks; what can change no more is read once. */
export class MarkdownText {
  constructor() {
    this._text = "";
    this._start = 0;
    /** @type {Block[]} */
    this._final = [];
    /** @type {Block[]} */
    this._open = [];
  }

  /**
   * All blocks of the text.
   *
   * @param {string} text Begins with what was given before, or is read anew.
   * @param {boolean} isWhole Whether no more comes.
   */
  blocks(text, isWhole) {
    const source = text.replace(/\r\n?/g, "\n");
    if (!source.startsWith(this._text)) {
      this._start = 0;
      this._final = [];
    } else if (source.length === this._text.length && !isWhole) {
      return [...this._final, ...this._open];
    }
    this._text = source;
    this._read(isWhole);
    return [...this._final, ...this._open];
  }

  /** @param {boolean} isWhole */
  _read(isWhole) {
    const tokens = marked.lexer(this._text.slice(this._start));
    const last = isWhole ? tokens.length : tokens.findLastIndex((token) => token.type !== "space");
    this._open = [];
    let place = this._start;
    tokens.forEach((token, index) => {
      const isFinal = index < last;
      if (token.type !== "space") (isFinal ? this._final : this._open).push({ key: place, token, isFinal });
      place += token.raw.length;
      if (isFinal) this._start = place;
    });
  }
}
