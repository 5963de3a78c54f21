// The machine: what runs, waits and was loaded, and what it has of memory, as it changes.
import { html, useEffect, useSignal } from "../vendor/preact.js";
import { Sheet } from "../sheet/sheet.js";
import { duration } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Fold } from "../sheet/fold.js";
import { Boundary } from "../parts/boundary.js";
import { Trouble, useAsked, useRepeated } from "../sheet/asked.js";
import { askJson, needsKey } from "../core/api.js";
import { complain } from "../core/status.js";
import { texts } from "../core/page_texts.js";
import { error, look, lookAnew, LOOK_MS, status } from "./data.js";
import { Events } from "./events.js";
import { Facts } from "./facts.js";
import { Inspector } from "./inspector.js";
import { Memory } from "./memory.js";
import { Requests } from "./requests.js";
import { Workers } from "./workers.js";

export function MachinePage() {
  useEffect(lookAnew, [needsKey.value]);
  useRepeated(look, LOOK_MS, [needsKey.value]);
  const now = status.value;
  return html`<${Sheet} title=${texts.machine.title} beside=${now && html`<${EngineChoice} />`}>
    <${Trouble} error=${error.value} />
    ${now && html`
      <p class="row wrap note"><span class="grow">${texts.machine.server(now.version, duration(now.uptime_s * 1000), now.pid)}</span><${Suspension} reason=${now.suspended ?? null} /></p>
      ${now.config_error && html`<p class="error" role="alert">${now.config_error}</p>`}
      ${now.restart && html`<p class="bad">${now.restart}</p>`}
      <${Boundary}><${Facts} status=${now} /><//>
      <${Boundary}><${Memory} status=${now} /><//>
      <${Boundary}><${Workers} workers=${now.workers} /><//>
      <${Boundary}><${Requests} /><//>
      <${Boundary}><${Events} /><//>
      <${Fold} title=${texts.inspector.title}>${() => html`<${Boundary}><${Inspector} /><//>`}<//>`}
  <//>`;
}

/** The engine that serves whoever does not say. What is chosen stands until the server says what it has. */
function EngineChoice() {
  const { data, refresh } = /** @type {import("../sheet/asked.js").Asked<{engine: string}>} */ (useAsked("/v1/mlxr/engine", [status.value?.engine_setting]));
  const chosen = useSignal(/** @type {string | null} */ (null));
  const choose = async (/** @type {any} */ event) => {
    const isUnderway = chosen.peek() !== null;
    chosen.value = event.target.value;
    if (isUnderway) return;
    // One after the other, so that the server ends up with what was chosen last.
    for (let told = null; told !== chosen.peek(); ) {
      told = chosen.peek();
      await askJson("/v1/mlxr/engine", { body: { engine: told } }).catch(complain);
      await refresh();
    }
    chosen.value = null;
  };
  return html`<label class="row">${texts.machine.engine} <select value=${chosen.value ?? data?.engine ?? "auto"} onChange=${choose}>
    ${["auto", "llamacpp", "mlx"].map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
  </select></label>`;
}

/** @param {{reason: string | null}} props */
function Suspension({ reason }) {
  const words = texts.machine;
  const ask = (/** @type {string} */ verb) => () => askJson(`/v1/mlxr/${verb}`, { method: "POST" }).then(look);
  if (reason === null) return html`<span title=${words.suspendHelp}><${Act} act=${ask("suspend")}>${words.suspend}<//></span>`;
  return html`<span class="bad">${words.suspended(reason)}</span> <${Act} act=${ask("resume")} look="">${words.resume}<//>`;
}
