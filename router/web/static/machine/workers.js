// Worker processes: what each has loaded, and what it does.
import { html } from "../vendor/preact.js";
import { bytes, count, duration, percent } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { askJson } from "../core/api.js";
import { texts } from "../core/page_texts.js";
import { look } from "./data.js";

/** @typedef {import("./data.js").Status["workers"][number]} Worker */

/** @param {{workers: Worker[]}} props */
export function Workers({ workers }) {
  const words = texts.machine;
  return html`<section aria-label=${words.processes}>
    <h2>${words.processes}</h2>
    ${workers.length === 0 && html`<p class="note">${words.noWorkers}</p>`}
    <ul class="cards many">${workers.map((each) => html`<${WorkerCard} key=${each.id} worker=${each} />`)}</ul>
  </section>`;
}

/** @param {{worker: Worker}} props */
function WorkerCard({ worker }) {
  const words = texts.machine;
  const name = worker.model === null ? words.noModel : worker.adapter ? `${worker.model}+${worker.adapter}` : worker.model;
  const unload = () => askJson("/v1/mlxr/models/stop", { body: { model: worker.model } }).then(look);
  const pairs = factsOf(worker).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<li class="card">
    <div class="row"><h3>${name} <span class="note">${worker.engine}</span></h3>
      <span class="state ${worker.state}"><span class="dot" aria-hidden="true"></span>${worker.state === "loading" && worker.load_fraction !== null ? texts.picker.loading(worker.load_fraction) : (texts.states[worker.state] ?? worker.state)}</span></div>
    <dl class="told">${pairs.map(([title, value]) => html`<dt>${title}</dt><dd>${value}</dd>`)}</dl>
    ${worker.model !== null && ["ready", "generating"].includes(worker.state) && html`<p><${Act} act=${unload} label=${texts.models.unloadOf(name, worker.engine)}>${texts.picker.unload}<//></p>`}
  </li>`;
}

/** @param {Worker} worker @returns {[string, unknown][]} */
function factsOf(worker) {
  const words = texts.machine;
  const { num_threads: threads, num_threads_now: threadsNow, threads_reason: why } = worker;
  return [
    [words.process, worker.pid],
    [words.resident, worker.rss_bytes === null ? null : bytes(worker.rss_bytes)],
    [words.running, worker.num_waiting ? words.runningAnd(worker.num_running, worker.num_waiting) : worker.num_running],
    [words.context, worker.context_length === null ? null : words.tokens(count(worker.context_length))],
    [words.threads, threads === null ? null : [threadsNow == null || threadsNow === threads ? threads : words.of(String(threadsNow), String(threads)), why && `(${why})`].filter(Boolean).join(" ")],
    [words.devices, [...worker.devices, ...Object.entries(worker.engine_versions).map(([part, version]) => `${part} ${version}`)].join(", ")],
    [words.loaded, worker.load_ms === null ? null : words.loadedIn(duration(worker.load_ms))],
    [words.until, worker.expires_at === null ? null : words.unloads(duration(Math.max(0, worker.expires_at * 1000 - Date.now())))],
    [words.kept, worker.num_kept_tokens == null ? null : words.tokens(count(worker.num_kept_tokens))],
    [words.speculation, worker.speculation],
    [words.noDrafts, worker.why_no_drafts],
    [words.share, worker.load_fraction !== null && worker.state === "loading" ? percent(worker.load_fraction) : null],
  ];
}
