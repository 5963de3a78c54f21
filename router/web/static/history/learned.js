// What `auto` would do with a request of some length, and by which figures.
import { html, useSignal } from "../vendor/preact.js";
import { count, duration, rate } from "../lib/format.js";
import { day } from "../sheet/time.js";
import { Table } from "../parts/table.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { texts } from "../core/page_texts.js";

/** @typedef {import("../core/server.js").Schemas["mlxr.Explanation"]} Explanation */

/** One of each range of prompts that share their figures. */
const PROMPTS = [100, 500, 2000, 8000, 16000];
const ANSWERS = [32, 256, 1024];

/** @param {{model: string, moment: string}} props */
export function Learned({ model, moment }) {
  const words = texts.history;
  const prompt = useSignal(PROMPTS[1]);
  const answer = useSignal(ANSWERS[1]);
  const query = new URLSearchParams({ model, prompt_tokens: String(prompt.value), answer_tokens: String(answer.value) });
  const { data, error } = /** @type {import("../sheet/asked.js").Asked<Explanation>} */ (useAsked(`/v1/mlxr/engine/explain?${query}`, [moment]));
  /** @param {string} label @param {import("../vendor/preact.js").Signal<number>} value @param {number[]} all */
  const choice = (label, value, all) => html`<label>${label}<select value=${value.value} onChange=${(/** @type {any} */ event) => (value.value = Number(event.target.value))}>${all.map((each) => html`<option key=${each} value=${each}>${count(each)}</option>`)}</select></label>`;
  return html`<section aria-label=${words.learned}>
    <h2>${words.learned}</h2>
    <p class="row wrap ends">${choice(words.prompt, prompt, PROMPTS)}${choice(words.answer, answer, ANSWERS)}</p>
    <${Trouble} error=${error} />
    ${data && html`
      <p>${words.decides(data.engine, data.why)}${!data.is_auto && ` ${words.setting}`}</p>
      <${Table} caption=${words.learned} head=${words.engineHead} rows=${data.engines.map(rowOf)} />
      <${Sources} engines=${data.engines} />`}
  </section>`;
}

/** @param {Explanation["engines"][number]} engine */
function rowOf(engine) {
  const none = texts.history.unmeasured;
  const seconds = (/** @type {number | null | undefined} */ value) => (value == null ? none : duration(value * 1000));
  const perSecond = (/** @type {number | null | undefined} */ value) => (value == null ? none : rate(value));
  return [
    engine.engine,
    seconds(engine.load_s),
    seconds(engine.prefill_s),
    seconds(engine.decode_s),
    seconds(engine.total_s),
    perSecond(engine.prefill_tokens_per_s),
    perSecond(engine.decode_tokens_per_s),
    count(engine.num_samples ?? 0),
    engine.measured_at == null ? "–" : day(engine.measured_at),
  ];
}

/** @param {{engines: Explanation["engines"]}} props */
function Sources({ engines }) {
  const ids = [...new Set(engines.flatMap(({ bench_ids: each }) => each ?? []))];
  return ids.length > 0 && html`<p class="note">${texts.history.from} ${ids.map((id, at) => html`${at > 0 && ", "}<code>${id}</code>`)}</p>`;
}
