// A model's other forms and the state of its files: converting and verifying, followed to their ends.
import { html, useSignal } from "../vendor/preact.js";
import { bytes, percent } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Progress } from "../parts/progress.js";
import { askJson, follow } from "../core/api.js";
import { jobs, refreshModels } from "../core/server.js";
import { announce } from "../core/status.js";
import { texts } from "../core/page_texts.js";

const CONVERT = "/v1/mlxr/models/convert";
const VERIFY = "/v1/mlxr/models/verify";
const BITS = [2, 3, 4, 5, 6, 8];

/** @param {{name: string}} props */
export function Convert({ name }) {
  const words = texts.convert;
  const step = useSignal(/** @type {{step: string, share: number | null} | null} */ (null));
  const ended = useSignal("");
  const error = useSignal("");
  /** @param {any} event */
  const onEvent = (event) => {
    if (event.type === "converting") step.value = event;
    else if (event.type === "failed") error.value = event.message;
    else if (event.type === "stopped") ended.value = words.stopped;
    else if (event.type === "done") {
      ended.value = words.done(event.model, event.report.parity ? percent(event.report.parity.agreement) : null);
      announce(ended.value);
      refreshModels().catch(() => {});
    }
  };
  /** @param {SubmitEvent} event */
  const begin = async (event) => {
    event.preventDefault();
    const given = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const bits = String(given.get("bits"));
    error.value = ended.value = "";
    step.value = { step: words.begins, share: null };
    const body = { model: name, bits: bits === "" ? null : Number(bits), force: given.get("force") === "on" };
    await follow(CONVERT, { body }, ({ data }) => onEvent(data)).catch((thrown) => (error.value = thrown.message));
    step.value = null;
  };
  const told = jobs.value.get(`conversion ${name}`);
  const isRunning = step.value !== null || told?.state === "running";
  const share = step.value?.share ?? told?.share;
  return html`
    <form class="row wrap ends" onSubmit=${begin}>
      <label>${words.bits}<select name="bits">${BITS.map((each) => html`<option value=${each} selected=${each === 4}>${words.bit(each)}</option>`)}<option value="">${words.float}</option></select></label>
      <label class="inline"><input name="force" type="checkbox" /> ${words.force}</label>
      <button type="submit" disabled=${isRunning}>${words.begin}</button>
      ${isRunning && html`<${Act} act=${() => askJson(`${CONVERT}/cancel`, { body: { model: name } })}>${words.stop}<//>`}
    </form>
    ${isRunning && html`<${Progress} label=${step.value?.step ?? words.runs} share=${share ?? undefined} detail=${share == null ? "" : percent(share)} />`}
    ${error.value && html`<p class="error" role="alert">${error.value}</p>`}
    ${ended.value && html`<p>${ended.value}</p>`}
    <p class="note">${words.help}</p>`;
}

/** @param {{name: string}} props */
export function Verify({ name }) {
  const words = texts.verify;
  const progress = useSignal(/** @type {{done_bytes: number, total_bytes: number} | null} */ (null));
  const seen = useSignal(/** @type {any[]} */ ([]));
  const error = useSignal("");
  const ended = useSignal("");
  /** @param {any} event */
  const onEvent = (event) => {
    if (event.type === "started") progress.value = { done_bytes: 0, total_bytes: event.total_bytes };
    else if (event.type === "progress") progress.value = event;
    else if (event.type === "verified") seen.value = [...seen.value, event];
    else if (event.type === "failed") error.value = event.message;
    else if (event.type === "stopped") ended.value = words.stopped;
    else if (event.type === "done") announce((ended.value = event.num_wrong === 0 ? words.good : words.wrong(event.num_wrong)));
  };
  const begin = async () => {
    seen.value = [];
    error.value = ended.value = "";
    await follow(VERIFY, { body: { model: name } }, ({ data }) => onEvent(data)).catch((thrown) => (error.value = thrown.message));
    progress.value = null;
  };
  const now = progress.value;
  return html`
    <p class="row wrap"><${Act} act=${begin} look="">${words.begin}<//>
      ${now && html`<${Act} act=${() => askJson(`${VERIFY}/cancel`, { method: "POST" })}>${words.stop}<//>`}</p>
    ${now && html`<${Progress} label=${words.runs} share=${now.total_bytes ? now.done_bytes / now.total_bytes : undefined} detail=${words.read(bytes(now.done_bytes), bytes(now.total_bytes))} />`}
    <ul class="rows">${seen.value.map((each) => html`<li key=${each.path}><code>${each.path}</code> <span class=${each.state === "ok" ? "good" : "bad"}>${texts.verify.states[each.state] ?? each.state}</span> ${each.problem ?? ""}</li>`)}</ul>
    ${error.value && html`<p class="error" role="alert">${error.value}</p>`}
    ${ended.value && html`<p>${ended.value}</p>`}`;
}
