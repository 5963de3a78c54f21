// Markdown to tokens. Its renderer, which writes HTML, is not exported.
export { Lexer, Marked } from "marked";
