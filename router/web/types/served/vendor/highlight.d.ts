import type { Root } from "hast";

export function highlight(language: string, code: string): Root;
export function isKnown(language: string): boolean;
