export { Lexer, Marked } from "marked";
export type { Token, Tokens } from "marked";
