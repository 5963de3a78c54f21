// Removing a model: what goes and what stays is said before.
import { html, useSignal } from "../vendor/preact.js";
import { bytes } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Dialog } from "../parts/dialog.js";
import { ask, askJson } from "../core/api.js";
import { refreshModels } from "../core/server.js";
import { announce } from "../core/status.js";
import { texts } from "../core/page_texts.js";

/** @typedef {import("../core/server.js").Schemas["mlxr.RemovalPlan"]} Plan */

/** @param {{name: string}} props */
export function Remove({ name }) {
  const words = texts.remove;
  const plan = useSignal(/** @type {Plan | null} */ (null));
  const error = useSignal("");
  const close = () => ((plan.value = null), (error.value = ""));
  const look = async () => (plan.value = await askJson(`/v1/mlxr/models/removal?${new URLSearchParams({ model: name })}`));
  const remove = async () => {
    if (plan.value?.loaded_on.length) await askJson("/v1/mlxr/models/stop", { body: { model: name } });
    await ask(`/v1/models/${name.split("/").map(encodeURIComponent).join("/")}`, { method: "DELETE" });
    close();
    announce(words.done(name));
    await refreshModels();
    document.getElementById("content")?.focus();
  };
  return html`
    <p><${Act} act=${look} look="danger">${words.look}<//></p>
    <${Dialog} title=${words.title(name)} isOpen=${plan.value !== null} onClose=${close}>
      ${plan.value && html`<${PlanView} plan=${plan.value} />`}
      ${error.value && html`<p class="error" role="alert">${error.value}</p>`}
      <p class="row">
        <button type="button" class="quiet" autofocus onClick=${close}>${words.keep}</button>
        <${Act} act=${remove} look="danger" onError=${(/** @type {Error} */ thrown) => (error.value = thrown.message)}>${words.remove}<//>
      </p>
    <//>`;
}

/** @param {{plan: Plan}} props */
function PlanView({ plan }) {
  const words = texts.remove;
  const parts = /** @type {[string, readonly string[]][]} */ ([
    [words.deleted(bytes(plan.freed_bytes)), plan.deleted],
    [words.kept, plan.kept],
    [words.aliases, plan.aliases],
    [words.adapters, plan.adapters],
  ]);
  return html`
    ${plan.loaded_on.length > 0 && html`<p>${words.loaded(plan.loaded_on)}</p>`}
    ${plan.deleted.length === 0 && html`<p>${words.nothing}</p>`}
    ${parts.filter(([, items]) => items.length > 0).map(
      ([title, items]) => html`<h3>${title}</h3><ul class="paths">${items.map((each) => html`<li><code>${each}</code></li>`)}</ul>`,
    )}`;
}
