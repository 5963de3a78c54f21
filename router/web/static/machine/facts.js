// Memory, heat, queue, rates and caches, in numbers.
import { html } from "../vendor/preact.js";
import { bytes, count, duration, percent } from "../lib/format.js";
import { Fold } from "../sheet/fold.js";
import { Table } from "../parts/table.js";
import { said } from "../sheet/values.js";
import { texts } from "../core/page_texts.js";
import { noRates, rates, written } from "./data.js";

/**
 * @typedef {import("./data.js").Status} Status
 * @typedef {[string, unknown][]} Pairs
 */

/** @param {{status: Status}} props */
export function Facts({ status }) {
  const words = texts.machine;
  return html`<div class="cards many">
    <${Card} title=${words.memory} word=${html`<${Level} words=${words.pressures} word=${status.memory?.pressure ?? null} />`} pairs=${memoryOf(status)} />
    ${status.memory_of_models && html`<${Card} title=${words.residency} word=${html`<span class="word">${words.modes[status.memory_of_models.mode] ?? status.memory_of_models.mode}</span>`} pairs=${residencyOf(status.memory_of_models)} />`}
    <${Card} title=${words.heat} word=${html`<${Level} words=${words.heats} word=${status.heat?.state ?? null} />`} pairs=${heatOf(status)} />
    <${Card} title=${words.queue} pairs=${queueOf(status)} />
    <${Card} title=${words.rates} pairs=${ratesOf()} />
    <${Card} title=${words.caches} pairs=${cachesOf(status)} />
  </div>
  ${status.memory && html`<${Fold} title=${words.defaults(status.memory.tier)}>${() => html`<${Defaults} memory=${status.memory} />`}<//>`}`;
}

/** @param {{title: string, word?: unknown, pairs: Pairs}} props */
function Card({ title, word, pairs }) {
  return html`<section class="card" aria-label=${title}>
    <div class="row"><h2>${title}</h2>${word}</div>
    <dl class="told">${pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
  </section>`;
}

const CALM = new Set(["normal", "nominal", "fair"]);

/** @param {{words: Record<string, string>, word: string | null}} props */
function Level({ words, word }) {
  return html`<span class=${word === null || CALM.has(word) ? "word" : "word warn"}>${word === null ? texts.machine.unknown : (words[word] ?? word)}</span>`;
}

/** @param {Status} status @returns {Pairs} */
function memoryOf({ memory, memory_total_bytes: total, memory_available_bytes: available, gateway_rss_bytes: gateway, workers }) {
  const words = texts.machine;
  return [
    [words.available, words.of(bytes(available), bytes(total))],
    [words.gateway, gateway === null ? null : bytes(gateway)],
    [words.workers, workers.length === 0 ? words.none : workers.map(({ rss_bytes: rss }) => (rss === null ? words.unknown : bytes(rss))).join(" + ")],
    [words.budget, memory?.budget_bytes == null ? null : words.of(memory.own_bytes == null ? words.unknown : bytes(memory.own_bytes), bytes(memory.budget_bytes))],
    [words.used, memory?.used_share == null ? null : percent(memory.used_share)],
    [words.stalled, memory?.stall_share == null ? null : percent(memory.stall_share)],
    [words.kernel, memory?.system_level],
    [words.why, memory?.reason],
  ];
}

/** What the loaded models take, in the order in which they would go. @param {NonNullable<Status["memory_of_models"]>} told @returns {Pairs} */
function residencyOf({ limit_bytes: limit, held_bytes: held, models, groups }) {
  const words = texts.machine;
  return [
    [words.taken, limit === null ? (models.length === 0 ? words.none : bytes(held)) : words.of(bytes(held), bytes(limit))],
    ...models.map(({ model, engine, held_bytes: each, goes, why }) => /** @type {[string, unknown]} */ ([`${model}, ${engine}`, words.shareOf(each === null ? words.unknown : bytes(each), goes, why)])),
    ...Object.entries(groups).map(([name, members]) => /** @type {[string, unknown]} */ ([words.group(name), members.join(", ")])),
  ];
}

/** @param {Status} status @returns {Pairs} */
function heatOf({ heat }) {
  return [[texts.machine.why, heat?.reason]];
}

/** @param {Status} status @returns {Pairs} */
function queueOf({ queue }) {
  const words = texts.machine;
  return [
    [words.waiting, words.of(count(queue.num_waiting - queue.num_background), count(queue.limit))],
    [words.background, words.of(count(queue.num_background), count(queue.limit_background))],
    [words.oldest, queue.oldest_wait_s === null ? null : duration(queue.oldest_wait_s * 1000)],
    ...queue.by_target.map(({ model, engine, num_waiting: num }) => /** @type {[string, unknown]} */ ([`${model}, ${engine}`, count(num)])),
  ];
}

/** @param {number | null} value */
const perSecond = (value) => (value === null ? texts.machine.unknown : texts.machine.perSecond(value < 10 ? value.toFixed(1) : count(Math.round(value))));

/** @returns {Pairs} */
function ratesOf() {
  const words = texts.machine;
  const writing = /** @type {[string, unknown]} */ ([words.writing, written.value === null ? words.nobody : perSecond(written.value)]);
  const now = rates.value;
  if (noRates.value) return [writing, [words.why, noRates.value.message]];
  if (now === null) return [writing, [words.why, words.counting]];
  return [
    writing,
    [words.answers, perSecond(now.output)],
    [words.prompts, perSecond(now.input)],
    [words.ended, perSecond(now.requests)],
    [words.over, duration(now.seconds * 1000)],
    [words.fromCache, now.cached === null ? words.noPrompts : percent(now.cached)],
  ];
}

/** @param {Status} status @returns {Pairs} */
function cachesOf({ saved_caches: saved, workers }) {
  const words = texts.machine;
  const kept = workers.filter(({ num_kept_tokens: num }) => num != null);
  return [
    [words.kept, kept.length === 0 ? words.none : words.tokens(count(kept.reduce((sum, each) => sum + (each.num_kept_tokens ?? 0), 0)))],
    [words.checkpoints, checkpointsOf(workers)],
    [words.saved, saved ? words.savedOf(count(saved.num_caches), bytes(saved.num_bytes), bytes(saved.max_bytes)) : null],
  ];
}

/** @param {Status["workers"]} workers */
function checkpointsOf(workers) {
  const num = workers.reduce((sum, each) => sum + (each.num_checkpoints ?? 0), 0);
  return num === 0 ? null : texts.machine.numAndSize(count(num), bytes(workers.reduce((sum, each) => sum + (each.checkpoint_bytes ?? 0), 0)));
}

/** @param {{memory: NonNullable<Status["memory"]>}} props */
function Defaults({ memory }) {
  const words = texts.machine;
  return html`<${Table} caption=${words.defaults(memory.tier)} head=${[words.key, words.value, words.origin]}
    rows=${memory.settings.map(({ name, value, origin, model }) => [html`<code>${name}</code>`, said(unitOf(name), value) || words.unset, model ? `${origin} (${model})` : origin])} />`;
}

/** @param {string} name */
const unitOf = (name) => (name.endsWith("_bytes") ? "bytes" : name.endsWith("_s") ? "s" : null);
