// The last requests as they came and as the model is shown them; kept by the server, in memory, only where the config says so.
import { html, useSignal } from "../vendor/preact.js";
import { bytes, count } from "../lib/format.js";
import { clock } from "../sheet/time.js";
import { Act } from "../sheet/act.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { CopyButton } from "../parts/copy.js";
import { Table } from "../parts/table.js";
import { askJson } from "../core/api.js";
import { texts } from "../core/page_texts.js";
import { requests } from "./data.js";

/**
 * @typedef {import("../core/server.js").Schemas} Schemas
 * @typedef {Schemas["mlxr.InspectedHead"]} Head
 */

const KEY = "inspector.num_requests";
const NUM_KEPT = 20;

export function Inspector() {
  const words = texts.inspector;
  const running = requests.value.map(({ id }) => id).join();
  const { data, error, refresh } = /** @type {import("../sheet/asked.js").Asked<Schemas["mlxr.InspectedList"]>} */ (useAsked("/v1/mlxr/requests/inspected", [running]));
  const open = useSignal(/** @type {string | null} */ (null));
  /** @param {number} num */
  const keep = (num) => async () => {
    await askJson("/v1/mlxr/config", { method: "PATCH", body: num === 0 ? { unset: [KEY] } : { set: { [KEY]: num } } });
    open.value = null;
    await refresh();
  };
  if (!data) return html`<${Trouble} error=${error} />`;
  if (data.num_kept === 0) return html`<p class="row wrap"><span class="note grow">${words.off}</span><${Act} act=${keep(NUM_KEPT)}>${words.keep(NUM_KEPT)}<//></p>`;
  return html`<${Trouble} error=${error} />
    <p class="row wrap"><span class="note grow">${words.on(data.num_kept)}</span><${Act} act=${refresh}>${words.refresh}<//><${Act} act=${keep(0)} look="danger">${words.stop}<//></p>
    ${data.requests.length > 0 && html`<${Table} caption=${words.title} head=${words.head} rows=${data.requests.map((each) => rowOf(each, open))} />`}
    ${open.value && html`<${Shown} key=${open.value} id=${open.value} />`}`;
}

/** @param {Head} head @param {import("../vendor/preact.js").Signal<string | null>} open */
function rowOf(head, open) {
  const words = texts.inspector;
  const isOpen = open.value === head.id;
  return [
    html`${clock(head.at)} ${head.method} ${head.path}`,
    [head.model, head.engine].filter(Boolean).join(", ") || "–",
    [head.status ?? words.running, head.error].filter(Boolean).join(" "),
    bytes(head.num_bytes),
    head.num_prompt_tokens === null ? "–" : count(head.num_prompt_tokens),
    head.num_output_tokens === null ? "–" : count(head.num_output_tokens),
    `${head.key}, ${head.client}`,
    html`<button type="button" class="quiet" aria-expanded=${isOpen} aria-label=${words.showOf(head.id)} onClick=${() => (open.value = isOpen ? null : head.id)}>${words.show}</button>`,
  ];
}

/** @param {{id: string}} props */
function Shown({ id }) {
  const words = texts.inspector;
  const { data, error } = /** @type {import("../sheet/asked.js").Asked<Schemas["mlxr.InspectedRequest"]>} */ (useAsked(`/v1/mlxr/requests/${encodeURIComponent(id)}/inspect`));
  if (!data) return html`<${Trouble} error=${error} />`;
  return html`<div class="card">
    <${Text} title=${data.is_cut ? words.bodyCut : words.body} text=${data.body} />
    ${data.prompts?.map((each, at) => html`<${Text} key=${at} title=${words.prompt} text=${each} />`)}
    ${data.why_no_prompts && html`<p class="note">${words.noPrompt(data.why_no_prompts)}</p>`}
  </div>`;
}

/** @param {{title: string, text: string}} props */
function Text({ title, text }) {
  return html`<div class="row"><h3>${title}</h3><${CopyButton} text=${() => text} label=${texts.inspector.copy(title)} /></div>
    <pre class="source" tabindex="0" role="group" aria-label=${title}>${text}</pre>`;
}
