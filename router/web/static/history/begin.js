// Starting the benchmark, how far it is, and ending it.
import { html, signal } from "../vendor/preact.js";
import { percent } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Progress } from "../parts/progress.js";
import { ask, follow } from "../core/api.js";
import { jobs } from "../core/server.js";
import { announce } from "../core/status.js";
import { texts } from "../core/page_texts.js";

/** Whether this page reads one's events. */
const isFollowed = signal(false);

/**
 * @param {string} model @param {() => void} onEnd
 * @returns {Promise<void>} When it has begun; it goes on by itself.
 */
function begin(model, onEnd) {
  return new Promise((resolve, reject) => {
    follow("/v1/mlxr/bench", { body: { model } }, ({ data }) => {
      if (data.type === "started") {
        isFollowed.value = true;
        announce(texts.history.began);
        resolve(undefined);
      } else if (data.type === "failed") reject(new Error(data.message));
    })
      .then(() => resolve(undefined), reject)
      .finally(() => {
        isFollowed.value = false;
        onEnd();
      });
  });
}

/** @param {{model: string, isRunning: boolean, onEnd: () => void}} props `isRunning` is what the list says. */
export function Begin({ model, isRunning, onEnd }) {
  const words = texts.history;
  const now = [...jobs.value.values()].find(({ job, state }) => job === "bench" && state === "running") ?? null;
  const stop = () => ask("/v1/mlxr/bench/stop", { method: "POST" }).then(onEnd);
  if (now || isRunning || isFollowed.value) {
    return html`<div class="row wrap"><span class="grow"><${Progress} label=${now?.subject ? `${words.running} ${now.subject}` : words.running} share=${now?.share ?? undefined} detail=${now?.share == null ? "" : percent(now.share)} /></span>
      <${Act} act=${stop}>${words.stop}<//></div>`;
  }
  return model && html`<p class="row wrap"><${Act} act=${() => begin(model, onEnd)} look="">${words.begin}<//><span class="note grow">${words.help}</span></p>`;
}
