// What one model does differently.
import { html, useSignal } from "../vendor/preact.js";
import { FieldForm } from "../sheet/field.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { askJson } from "../core/api.js";
import { texts } from "../core/page_texts.js";

/** @typedef {import("../core/server.js").Schemas["mlxr.ModelSettingsReport"]} Report */

const PATH = "/v1/mlxr/models/settings";

/** @param {{name: string}} props */
export function Settings({ name }) {
  const { data, error } = /** @type {import("../sheet/asked.js").Asked<Report>} */ (useAsked(`${PATH}?${new URLSearchParams({ model: name })}`));
  const changed = useSignal(/** @type {Report | null} */ (null));
  /** @param {Record<string, unknown>} change */
  const change = async (change) => {
    changed.value = await askJson(PATH, { method: "PATCH", body: { model: name, ...change } });
  };
  const report = changed.value ?? data;
  return html`<${Trouble} error=${error} />
    ${report?.settings.map(
      (each) => html`<${FieldForm} key=${each.key} field=${each} value=${each.value} otherwise=${each.otherwise} isSet=${each.value !== null}
        notes=${notesOf(each)} onSet=${(/** @type {unknown} */ value) => change({ set: { [each.key]: value } })} onUnset=${() => change({ unset: [each.key] })} />`,
    )}`;
}

/** @param {Report["settings"][number]} setting */
function notesOf({ engine, is_of_load: isOfLoad }) {
  return [engine && texts.field.onlyOn(engine), isOfLoad && texts.field.loadsAnew].filter(Boolean).join(" ");
}
