// What an answer waits for, and what was unloaded and loaded for it, with the server's figures.
import { html } from "../vendor/preact.js";
import { isEnded } from "../lib/answer.js";
import { bytes, count, duration } from "../lib/format.js";
import { Progress } from "../parts/progress.js";
import { states } from "../core/server.js";
import { texts } from "../core/texts.js";
import { expectedLoad } from "./expected.js";

/** @typedef {import("./state.js").Entry} Entry @typedef {import("../core/server.js").Swap} Swap */

/** @param {{entry: Entry, version: number}} props */
export function Swaps({ entry }) {
  if (entry.swaps.length === 0) return null;
  return html`<ul class="swaps" aria-label=${texts.compare.swaps}>${entry.swaps.map((swap) => html`<li class=${swap.event}>${swap.event === "unload" ? unloaded(swap) : loaded(swap)}</li>`)}</ul>`;
}

/** @param {Swap} swap */
function unloaded(swap) {
  const { engine, freed_bytes, unload_ms, is_memory_back } = swap;
  const said = texts.compare.unloaded(engine, unload_ms ? duration(unload_ms) : null, freed_bytes ? bytes(freed_bytes) : null);
  return html`${said}${is_memory_back === false ? texts.compare.isNotBack : is_memory_back && texts.compare.isBack}${available(swap)}`;
}

/** @param {Swap} swap */
function loaded(swap) {
  const { engine, load_ms, rss_after_bytes } = swap;
  return html`${texts.compare.loaded(engine, load_ms ? duration(load_ms) : null, rss_after_bytes ? bytes(rss_after_bytes) : null)}${available(swap)}`;
}

/** @param {Swap} swap */
function available({ available_before_bytes, available_after_bytes }) {
  const isKnown = available_before_bytes && available_after_bytes;
  return isKnown && html` · <span class="note">${texts.compare.available(bytes(available_before_bytes), bytes(available_after_bytes))}</span>`;
}

/** What goes on before the first text. @param {{entry: Entry, version: number}} props */
export function WaitingFor({ entry }) {
  const { side, answer } = entry;
  if (isEnded(answer) || answer.firstAt !== null) return null;
  const progress = answer.progress;
  if (progress && progress.total > 0) {
    const detail = texts.chat.prefillTokens(count(progress.done), count(progress.total));
    return html`<${Progress} label=${texts.chat.prefill} share=${progress.done / progress.total} detail=${detail} />`;
  }
  const state = states.value.get(`${side.engine} ${side.model}`);
  if (state?.state === "loading") {
    const share = state.load_fraction ?? 0;
    const usual = expectedLoad(side);
    const detail = html`${texts.picker.loading(share)}${usual !== null && texts.compare.usually(duration(usual))}`;
    return html`<${Progress} label=${texts.compare.loading(side.engine)} share=${share} detail=${detail} />`;
  }
  const leaving = [...states.value.values()].find((each) => each.state === "draining");
  return html`<p class="note pulse">${leaving ? texts.compare.unloading(leaving.engine) : state?.state === "generating" ? texts.chat.prefill : texts.chat.waiting}</p>`;
}
