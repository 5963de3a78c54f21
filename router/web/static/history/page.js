// What was measured: runs of the benchmark, how figures went from run to run, and what `auto` makes of them.
import { html, useSignal } from "../vendor/preact.js";
import { Sheet } from "../sheet/sheet.js";
import { friendlyName } from "../lib/format.js";
import { Boundary } from "../parts/boundary.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { jobs, models } from "../core/server.js";
import { texts } from "../core/page_texts.js";
import { Begin } from "./begin.js";
import { Learned } from "./learned.js";
import { Runs } from "./runs.js";
import { Trends } from "./trends.js";

/** @typedef {import("../core/server.js").Schemas["mlxr.BenchList"]} List */

const LIMIT = 200;

export function HistoryPage() {
  const words = texts.history;
  const model = useSignal("");
  const ended = [...jobs.value.values()].filter(({ job, state }) => job === "bench" && state !== "running").map(({ id, at }) => `${id} ${at}`);
  const path = `/v1/mlxr/bench?${new URLSearchParams({ limit: String(LIMIT), ...(model.value ? { model: model.value } : {}) })}`;
  const { data, error, refresh } = /** @type {import("../sheet/asked.js").Asked<List>} */ (useAsked(path, [ended.join()]));
  const own = models.value?.filter(({ parent }) => parent === undefined).map(({ id }) => id) ?? [];
  const all = [...new Set([...own, ...(data?.benches.map((each) => each.model) ?? [])])];
  const choice = html`<label class="row">${words.model} <select value=${model.value} onChange=${(/** @type {any} */ event) => (model.value = event.target.value)}>
    <option value="">${words.all}</option>${all.map((each) => html`<option key=${each} value=${each}>${friendlyName(each)}</option>`)}</select></label>`;
  return html`<${Sheet} title=${words.title} beside=${choice}>
    <${Trouble} error=${error} />
    <${Boundary}><${Begin} model=${model.value} isRunning=${(data?.running ?? null) !== null} onEnd=${refresh} /><//>
    ${data && html`<${Boundary}><${Runs} runs=${data.benches} /><//>`}
    ${data && model.value && html`<${Boundary}><${Trends} key=${model.value} heads=${data.benches} /><//>`}
    ${model.value && own.includes(model.value) && html`<${Boundary}><${Learned} key=${model.value} model=${model.value} moment=${ended.join()} /><//>`}
    ${!model.value && html`<p class="note">${words.choose}</p>`}
  <//>`;
}
