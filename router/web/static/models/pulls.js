// Pulls: begun, followed, stopped for a while, taken up again, given up.
import { html, signal, useEffect } from "../vendor/preact.js";
import { bytes, duration, percent } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Progress } from "../parts/progress.js";
import { useRepeated } from "../sheet/asked.js";
import { ask, askJson, follow } from "../core/api.js";
import { jobs } from "../core/server.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/page_texts.js";

/** @typedef {import("../core/server.js").Schemas["mlxr.PullInfo"]} Pull */

const PULLS = "/v1/mlxr/models/pulls";
const LOOK_MS = 1000;
const RUNNING = new Set(["queued", "running"]);
const RESTING = new Set(["paused", "interrupted", "failed"]);

/** @type {import("../vendor/preact.js").Signal<Pull[]>} */
const pulls = signal([]);
/** What was said of the pull that was asked for last. */
const notes = signal(/** @type {string[]} */ ([]));

async function refresh() {
  pulls.value = (await askJson(PULLS)).pulls.reverse();
}

/**
 * Begin a pull; it goes on by itself, also when the page is closed.
 *
 * @param {{reference: string, engine?: string, name?: string}} wish
 * @returns {Promise<void>} When it is in the list.
 */
export function pull(wish) {
  notes.value = [];
  let id = /** @type {number | null} */ (null);
  return new Promise((resolve, reject) => {
    follow("/v1/mlxr/models/pull", { body: wish }, ({ data }) => {
      if (data.type === "started") {
        id = data.id;
        announce(texts.pulls.begun(data.reference));
        refresh().catch(complain).finally(resolve);
      } else if (data.type === "planned") {
        notes.value = data.plan.notes;
      } else if (data.type === "failed") {
        // One that has begun to fetch stays in the list, with its error; others are told of here only.
        refresh().finally(() => pulls.value.some((each) => each.id === id) || complain(new Error(data.message)));
      }
    }).then(resolve, reject);
  });
}

export function Pulls() {
  const told = [...jobs.value.values()].filter((each) => each.job === "pull");
  useEffect(() => void refresh().catch(complain), [told.map(({ id, state }) => `${id} ${state}`).join()]);
  const isRunning = pulls.value.some(({ state }) => RUNNING.has(state));
  useRepeated(async () => isRunning && refresh().catch(() => {}), LOOK_MS, [isRunning]);
  const open = pulls.value.filter(({ state }) => RUNNING.has(state) || RESTING.has(state));
  if (open.length === 0) return null;
  return html`<section aria-label=${texts.pulls.title}>
    <h2>${texts.pulls.title}</h2>
    ${notes.value.map((note) => html`<p class="note">${note}</p>`)}
    <ul class="rows">${open.map((each) => html`<${PullRow} key=${each.id} pull=${each} />`)}</ul>
  </section>`;
}

/** @param {{pull: Pull}} props */
function PullRow({ pull }) {
  const { id, reference, state } = pull;
  /** @param {string} verb */
  const act = (verb) => async () => {
    await ask(`${PULLS}/${id}/${verb}`, { method: "POST" });
    await refresh();
  };
  return html`<li class="row wrap">
    <span class="what"><strong>${reference}</strong> <span class="note">${texts.pulls.states[state]}${pull.called && ` ${texts.pulls.as(pull.called)}`}</span></span>
    <span class="grow">${state === "failed" ? html`<span class="error">${pull.error}</span>` : html`<${HowFar} pull=${pull} />`}</span>
    ${RUNNING.has(state) && html`<${Act} act=${act("pause")} label=${`${texts.pulls.pause} ${reference}`}>${texts.pulls.pause}<//>`}
    ${RESTING.has(state) && html`<${Act} act=${act("resume")} label=${`${texts.pulls.resume} ${reference}`}>${texts.pulls.resume}<//>`}
    <${Act} act=${act("cancel")} look="danger" label=${`${texts.pulls.cancel} ${reference}`}>${texts.pulls.cancel}<//>
  </li>`;
}

/** @param {{pull: Pull}} props */
function HowFar({ pull }) {
  if (pull.step) return html`<${Progress} label=${pull.step} share=${pull.step_share ?? undefined} detail=${pull.step_share == null ? "" : percent(pull.step_share)} />`;
  const total = pull.total_bytes;
  if (total == null) return html`<span class="note">${texts.pulls.planning}</span>`;
  const done = pull.done_bytes ?? 0;
  const rest = [pull.bytes_per_s == null ? null : texts.pulls.perSecond(bytes(pull.bytes_per_s)), pull.eta_s == null ? null : texts.pulls.toGo(duration(pull.eta_s * 1000))];
  return html`<${Progress} label=${texts.pulls.came(bytes(done), bytes(total))} share=${total === 0 ? 1 : done / total} detail=${rest.filter(Boolean).join(", ")} />`;
}
