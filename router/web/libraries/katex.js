// Formulas, drawn node by node.
import katex from "katex";

export const render = katex.render;
