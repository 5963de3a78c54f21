// The figures of an answer, as the server measured them.
import { html } from "../vendor/preact.js";
import { count, duration, percent, rate } from "../lib/format.js";
import { models } from "../core/server.js";
import { texts } from "../core/texts.js";

/** @typedef {import("../lib/answer.js").Answer} Answer */

/** @param {{answer: Answer, model: string}} props */
export function Stats({ answer, model }) {
  const rows = figures(answer, models.value?.find((each) => each.id === model)?.context_length ?? null);
  if (rows.length === 0) return null;
  return html`<ul class="stats">${rows.map(({ text, title }) => html`<li title=${title}>${text}</li>`)}</ul>`;
}

/** How fast it comes, while it does; the server's figures so far. @param {{answer: Answer, version: number}} props */
export function Live({ answer }) {
  const { timings, firstAt } = answer;
  if (firstAt === null || !timings) return null;
  const speed = timings.predicted_per_second ? `, ${rate(timings.predicted_per_second)}` : "";
  return html`<p class="live">${count(timings.predicted_n)} ${texts.stats.tokens}${speed}</p>`;
}

/** @param {Answer} answer @param {number | null} contextLength */
function figures({ timings, usage }, contextLength) {
  /** @type {{text: string, title: string | null}[]} */
  const rows = [];
  /** @param {string} text @param {string | null} [title] */
  const put = (text, title = null) => rows.push({ text, title });
  if (timings) {
    put(timings.engine ?? "", timings.engine_reason ?? null);
    const waited = (timings.load_ms ?? 0) + (timings.queue_ms ?? 0);
    put(`${texts.stats.firstToken} ${duration(timings.prompt_ms + waited)}`, `${timings.prompt_n} ${texts.stats.tokens}, ${rate(timings.prompt_per_second ?? 0)}`);
    if (timings.load_ms) put(`${texts.stats.loaded} ${duration(timings.load_ms)}`);
    if (timings.predicted_per_second) put(rate(timings.predicted_per_second), `${timings.predicted_n} ${texts.stats.tokens}`);
    if (timings.draft_n) {
      const right = timings.draft_n_accepted ?? 0;
      put(texts.stats.drafts(percent(right / timings.draft_n)), `${right} / ${timings.draft_n} ${texts.stats.tokens}`);
    }
    if (timings.cache_n) put(`${count(timings.cache_n)} ${texts.stats.cached}`, `${timings.cache_n} ${texts.stats.tokens}`);
  }
  const filled = timings?.context ?? (usage && contextLength ? { used: usage.input + usage.output, limit: contextLength } : null);
  if (filled) {
    const { used, limit } = filled;
    const wound = "wound" in filled && filled.wound ? texts.stats.wound(count(filled.wound.turns), count(filled.wound.narrative_tokens)) : "";
    put(`${texts.stats.context} ${percent(used / limit)}`, `${count(used)} / ${count(limit)} ${texts.stats.tokens}${wound}`);
  }
  return rows.filter(({ text }) => text !== "");
}
