// Other names of a model.
import { html, useSignal } from "../vendor/preact.js";
import { Act } from "../sheet/act.js";
import { askJson } from "../core/api.js";
import { refreshModels } from "../core/server.js";
import { texts } from "../core/page_texts.js";

const PATH = "/v1/mlxr/models/aliases";

/** @param {{model: import("./model.js").Model}} props */
export function Aliases({ model }) {
  const text = useSignal("");
  const error = useSignal("");
  /** @param {string} path @param {string} alias */
  const change = async (path, alias) => {
    await askJson(path, { body: { model: model.id, alias } });
    await refreshModels();
  };
  /** @param {Event} event */
  const add = async (event) => {
    event.preventDefault();
    try {
      await change(PATH, text.value.trim());
      text.value = error.value = "";
    } catch (thrown) {
      error.value = /** @type {Error} */ (thrown).message;
    }
  };
  return html`
    <ul class="rows">${model.aliases.map(
      (alias) => html`<li class="row"><code class="grow">${alias}</code>
        <${Act} act=${() => change(`${PATH}/remove`, alias)} label=${texts.aliases.removeOf(alias)}>${texts.aliases.remove}<//></li>`,
    )}</ul>
    <form class="row wrap ends" onSubmit=${add}>
      <label>${texts.aliases.label}<input type="text" required maxlength="256" autocomplete="off" spellcheck=${false} value=${text.value} onInput=${(/** @type {any} */ event) => (text.value = event.target.value)} /></label>
      <button type="submit" disabled=${text.value.trim() === ""}>${texts.aliases.add}</button>
    </form>
    ${error.value && html`<p class="error" role="alert">${error.value}</p>`}`;
}
