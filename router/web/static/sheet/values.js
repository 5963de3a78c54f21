// Values of keys as one types them, and back. The server checks them; here they only get their kind. Pure.
import { bytes, duration } from "../lib/format.js";

/**
 * @typedef {string | number | boolean | null | unknown[] | { [key: string]: unknown }} Value
 * @typedef {object} Field What a key takes, as the server describes it.
 * @property {string} kind
 * @property {string} takes In words.
 * @property {readonly string[]} [choices]
 * @property {boolean} [is_free] Whether it takes more than its choices.
 * @property {number | null} [minimum]
 * @property {number | null} [maximum]
 * @property {boolean} [is_nullable]
 * @property {string} key
 * @property {string} what
 * @property {string | null} unit
 */

/** What to type it into. @param {Field} field @returns {"choice" | "lines" | "text"} */
export function inputOf(field) {
  if (field.kind === "list" || field.kind === "object") return "lines";
  return choicesOf(field).length > 0 && !isFree(field) ? "choice" : "text";
}

/** @param {Field} field */
const isFree = (field) => field.kind !== "boolean" && field.is_free === true;

/** What can be chosen, null aside. @param {Field} field @returns {string[]} */
export function choicesOf(field) {
  return [...(field.kind === "boolean" ? ["true", "false"] : []), ...(field.choices ?? [])];
}

/** @param {Value | undefined} value */
export function textOf(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value.join("\n");
  return typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
}

/** What a text means; one that cannot be read goes to the server as it is, which says what is wrong. @param {Field} field @param {string} text @returns {Value} */
export function valueOf(field, text) {
  const trimmed = text.trim();
  if (field.kind === "list") return listOf(text, trimmed);
  if (trimmed === "" && field.is_nullable) return null;
  if (field.kind === "object") return parsed(trimmed);
  if (field.kind === "boolean") return { true: true, false: false }[trimmed] ?? trimmed;
  if (field.kind === "text") return text;
  const number = Number(trimmed);
  return trimmed === "" || Number.isNaN(number) ? trimmed : number;
}

/** @param {string} text @param {string} trimmed */
function listOf(text, trimmed) {
  if (trimmed.startsWith("[")) return parsed(trimmed);
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A value in words that its unit needs, or null where it says so itself. @param {string | null} unit @param {Value | undefined} value */
export function inWords(unit, value) {
  if (typeof value !== "number") return null;
  if (unit === "bytes" && value >= 1000) return bytes(value);
  return unit === "s" && value >= 120 ? long(value) : null;
}

/** @param {number} seconds */
function long(seconds) {
  const [size, name] = /** @type {[number, string]} */ (seconds >= 2 * 86_400 ? [86_400, "days"] : seconds >= 2 * 3600 ? [3600, "h"] : [0, ""]);
  return size > 0 && seconds % size === 0 ? `${seconds / size} ${name}` : duration(seconds * 1000);
}

/** Text of a value beside other words. @param {string | null} unit @param {Value | undefined} value */
export function said(unit, value) {
  if (typeof value === "number") return inWords(unit, value) ?? (unit === null ? String(value) : `${value} ${unit}`);
  const text = textOf(value);
  return Array.isArray(value) ? value.length === 0 ? "[]" : text.replaceAll("\n", ", ") : text;
}
