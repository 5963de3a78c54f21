// Every key of the server's config, as the server describes it.
import { html, useSignal } from "../vendor/preact.js";
import { FieldForm } from "../sheet/field.js";
import { Fold } from "../sheet/fold.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { said } from "../sheet/values.js";
import { sectionsOf } from "./sections.js";
import { askJson } from "../core/api.js";
import { texts } from "../core/page_texts.js";

/**
 * @typedef {import("../core/server.js").Schemas["mlxr.ConfigReport"]} Report
 * @typedef {import("./sections.js").Key} Key
 */

const PATH = "/v1/mlxr/config";

export function Config() {
  const words = texts.settings;
  const { data, error, refresh } = /** @type {import("../sheet/asked.js").Asked<Report>} */ (useAsked(PATH));
  const filter = useSignal("");
  const warning = useSignal("");
  /** @param {Record<string, unknown>} change */
  const change = async (change) => {
    const done = await askJson(PATH, { method: "PATCH", body: change });
    warning.value = done.error ?? "";
    await refresh();
  };
  const isFiltered = filter.value.trim() !== "";
  const sections = sectionsOf(data?.keys ?? [], filter.value);
  return html`<section aria-label=${words.config}>
    <h2>${words.config}</h2>
    <${Trouble} error=${error} />
    ${data && html`
      <p class="note">${words.file} <code>${data.file}</code></p>
      ${data.error && html`<p class="error" role="alert">${data.error}</p>`}
      ${warning.value && html`<p class="error" role="alert">${warning.value}</p>`}
      <p><label>${words.filter}<input type="search" autocomplete="off" spellcheck=${false} value=${filter.value} onInput=${(/** @type {any} */ event) => (filter.value = event.target.value)} /></label></p>
      ${sections.length === 0 && html`<p class="note">${words.noKey}</p>`}
      ${sections.map(({ name, keys }) => html`<${Fold} key=${`${name} ${isFiltered}`} isOpen=${isFiltered} title=${titleOf(name, keys)}>
        ${() => keys.map((each) => html`<${KeyField} key=${each.key} field=${each} change=${change} />`)}<//>`)}`}
  </section>`;
}

/** @param {string} name @param {Key[]} keys */
function titleOf(name, keys) {
  const words = texts.settings;
  const num = keys.filter(isSet).length;
  return html`<strong>${name || words.general}</strong> <span class="note">${words.numKeys(keys.length)}${num > 0 && `, ${words.numSet(num)}`}</span>`;
}

/** Whether the file or the command line says something of it. @param {Key} key */
const isSet = ({ origin }) => origin === "file" || origin === "command_line";

/** @param {{field: Key, change: (change: Record<string, unknown>) => Promise<void>}} props */
function KeyField({ field, change }) {
  const { key, unit, default: usual, in_file: inFile, value } = field;
  const isInFile = JSON.stringify(inFile) !== JSON.stringify(usual) || field.origin === "file";
  return html`<${FieldForm} field=${field} value=${inFile} otherwise=${usual} isSet=${isInFile} notes=${html`<${Notes} field=${field} inForce=${said(unit, value)} />`}
    onSet=${(/** @type {unknown} */ next) => change({ set: { [key]: next } })} onUnset=${() => change({ unset: [key] })} />`;
}

/** @param {{field: Key, inForce: string}} props */
function Notes({ field, inForce }) {
  const words = texts.settings;
  const { origin, in_file: inFile, value } = field;
  const differs = JSON.stringify(inFile) !== JSON.stringify(value);
  return html`${differs && html`<span>${words.inForce(inForce || words.unset)} </span>`}
    ${origin !== "default" && html`<span class="word">${words.origins[origin] ?? origin}</span> `}
    ${field.needs_restart && html`<span class="word">${words.restart}</span> `}
    ${field.is_waiting && html`<span class="word warn">${words.waits}</span>`}`;
}
