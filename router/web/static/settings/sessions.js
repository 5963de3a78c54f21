// Windows that `mlxr ui` let in, each until it ends or is ended.
import { html } from "../vendor/preact.js";
import { moment } from "../sheet/time.js";
import { Act } from "../sheet/act.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { Table } from "../parts/table.js";
import { ask, forgetKey, needsKey } from "../core/api.js";
import { texts } from "../core/page_texts.js";

/**
 * @typedef {import("../core/server.js").Schemas} Schemas
 * @typedef {Schemas["mlxr.SessionRow"]} Row
 */

const PATH = "/v1/mlxr/ui/sessions";

/** @param {{keys: readonly Schemas["mlxr.KeyRow"][]}} props */
export function Sessions({ keys }) {
  const words = texts.sessions;
  const { data, error, refresh } = /** @type {import("../sheet/asked.js").Asked<Schemas["mlxr.SessionList"]>} */ (useAsked(PATH));
  /** @param {Row} row */
  const end = (row) => async () => {
    await ask(`${PATH}/${encodeURIComponent(row.id)}`, { method: "DELETE" });
    if (row.is_current) {
      forgetKey();
      needsKey.value = true;
    } else await refresh();
  };
  /** @param {Row} row */
  const rowOf = (row) => [
    html`${row.client} ${row.is_current && html`<span class="word">${words.current}</span>`}`,
    row.key_id === null ? words.owner : (keys.find(({ id }) => id === row.key_id)?.name ?? row.key_id),
    moment(row.created_at),
    moment(row.expires_at),
    html`<${Act} act=${end(row)} look="danger" label=${words.endOf(moment(row.created_at))}>${words.end}<//>`,
  ];
  return html`<${Trouble} error=${error} />
    ${data && data.sessions.length > 0 && html`<h3>${words.title}</h3><${Table} caption=${words.title} head=${words.head} rows=${data.sessions.map(rowOf)} />`}`;
}
