// Blocks of Markdown as nodes. Nothing of a text becomes HTML: what looks like it is shown as it is.
import { Component, Fragment, h, html } from "../vendor/preact.js";
import { decodeEntities } from "../lib/entities.js";
import { safeAddress } from "../lib/links.js";
import { MarkdownText } from "../lib/markdown.js";
import { texts } from "../core/texts.js";
import { CodeBlock } from "./code.js";
import { Formula } from "./formula.js";

/** @typedef {import("../lib/markdown.js").Block} Block */

/** @extends {Component<{text: string, isWhole: boolean}>} */
export class Markdown extends Component {
  source = new MarkdownText();

  /** @param {{text: string, isWhole: boolean}} next */
  shouldComponentUpdate(next) {
    return next.text !== this.props.text || next.isWhole !== this.props.isWhole;
  }

  /** @param {{text: string, isWhole: boolean}} props */
  render({ text, isWhole }) {
    const blocks = this.source.blocks(text, isWhole);
    return html`<div class="markdown">${blocks.map((block) => h(BlockView, { key: block.key, block }))}</div>`;
  }
}

/** @extends {Component<{block: Block}>} */
class BlockView extends Component {
  /** @param {{block: Block}} next */
  shouldComponentUpdate({ block }) {
    return block !== this.props.block && (block.token.raw !== this.props.block.token.raw || block.isFinal !== this.props.block.isFinal);
  }

  /** @param {{block: Block}} props */
  render({ block }) {
    return blockNode(block.token, block.isFinal);
  }
}

/** @param {any} token @param {boolean} isFinal @returns {any} */
function blockNode(token, isFinal) {
  const draw = BLOCKS[token.type];
  return draw ? draw(token, isFinal) : inline(token);
}

/** @param {any[] | undefined} tokens */
const blocks = (tokens) => tokens?.map((each) => blockNode(each, true));

// A page has one title, and a message one heading over it: those of a text begin below them.
const HEADING_OFFSET = 2;

/** @type {Record<string, (token: any, isFinal: boolean) => any>} */
const BLOCKS = {
  space: () => null,
  hr: () => h("hr", null),
  heading: (token) => h(`h${Math.min(6, token.depth + HEADING_OFFSET)}`, null, all(token.tokens)),
  paragraph: (token) => h("p", null, all(token.tokens)),
  text: (token) => (token.tokens ? h(Fragment, null, all(token.tokens)) : decodeEntities(token.text)),
  blockquote: (token) => h("blockquote", null, blocks(token.tokens)),
  code: (token, isFinal) => h(CodeBlock, { code: token.text, language: (token.lang ?? "").trim(), isFinal }),
  math: (token) => h(Formula, { source: token.text, isBlock: token.isBlock, raw: token.raw }),
  html: (token) => h("p", { class: "raw" }, token.raw),
  def: (token) => h("p", { class: "raw" }, token.raw),
  list: listNode,
  table: tableNode,
};

/** @param {any} token */
function listNode(token) {
  const items = token.items.map((/** @type {any} */ item) =>
    h("li", item.task ? { class: "task" } : null, item.task && taskBox(item), blocks(item.tokens)),
  );
  return token.ordered ? h("ol", { start: token.start || 1 }, items) : h("ul", null, items);
}

/** @param {any} item */
const taskBox = (item) => h("input", { type: "checkbox", disabled: true, checked: item.checked, "aria-label": item.checked ? "done" : "to do" });

/** @param {any} token */
function tableNode(token) {
  /** @param {string} tag @param {any} cell @param {number} index */
  const cellNode = (tag, cell, index) =>
    h(tag, { class: `to-${token.align[index] ?? "left"}`, ...(tag === "th" ? { scope: "col" } : {}) }, all(cell.tokens));
  const head = h("tr", null, token.header.map((/** @type {any} */ cell, /** @type {number} */ index) => cellNode("th", cell, index)));
  const rows = token.rows.map((/** @type {any} */ row) =>
    h("tr", null, row.map((/** @type {any} */ cell, /** @type {number} */ index) => cellNode("td", cell, index))),
  );
  return h("div", { class: "scrolled", tabindex: 0, role: "group", "aria-label": "Table" }, h("table", null, h("thead", null, head), h("tbody", null, rows)));
}

/** @param {any[] | undefined} tokens */
const all = (tokens) => tokens?.map(inline);

/** @param {any} token @returns {any} */
function inline(token) {
  const draw = INLINE[token.type];
  return draw ? draw(token) : (token.text ?? token.raw);
}

/** @type {Record<string, (token: any) => any>} */
const INLINE = {
  text: (token) => (token.tokens ? h(Fragment, null, all(token.tokens)) : decodeEntities(token.text)),
  strong: (token) => h("strong", null, all(token.tokens)),
  em: (token) => h("em", null, all(token.tokens)),
  del: (token) => h("del", null, all(token.tokens)),
  br: () => h("br", null),
  codespan: (token) => h("code", null, token.text),
  escape: (token) => token.text,
  math: (token) => BLOCKS.math(token, true),
  link: (token) => link(token.href, all(token.tokens)),
  // Never loaded: an address that a model has written would tell another server of the conversation.
  image: (token) => link(token.href, texts.chat.image(token.text)),
  html: (token) => token.raw,
  checkbox: () => null,
};

/** @param {string} address @param {any} content */
function link(address, content) {
  const href = safeAddress(address);
  if (href === null) return h("span", { class: "raw" }, content);
  return h("a", { href, target: "_blank", rel: "noopener noreferrer" }, content);
}
