// LoRA adapters over a model.
import { html, useSignal } from "../vendor/preact.js";
import { bytes } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { askJson } from "../core/api.js";
import { refreshModels } from "../core/server.js";
import { texts } from "../core/page_texts.js";

/** @typedef {import("../core/server.js").Schemas["mlxr.AdapterList"]} List */

const PATH = "/v1/mlxr/models/adapters";

/** @param {{name: string}} props */
export function Adapters({ name }) {
  const { data, error, refresh } = /** @type {import("../sheet/asked.js").Asked<List>} */ (useAsked(`${PATH}?${new URLSearchParams({ model: name })}`));
  const words = texts.adapters;
  const refused = useSignal("");
  /** @param {string} path @param {Record<string, unknown>} body */
  const change = async (path, body) => {
    await askJson(path, { body: { model: name, ...body } });
    await Promise.all([refresh(), refreshModels()]);
  };
  /** @param {SubmitEvent} event */
  const add = async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const given = new FormData(form);
    try {
      await change(PATH, { path: String(given.get("path")).trim(), name: String(given.get("name")).trim() || null, scale: Number(given.get("scale") || 1) });
      form.reset();
      refused.value = "";
    } catch (thrown) {
      refused.value = /** @type {Error} */ (thrown).message;
    }
  };
  return html`<${Trouble} error=${error} />
    ${data?.adapters.length === 0 && html`<p class="note">${words.none}</p>`}
    <ul class="rows">${data?.adapters.map(
      (each) => html`<li class="row wrap" key=${`${each.reference} ${each.engine}`}>
        <span class="grow"><code>${each.reference}</code> <span class="note">${words.facts(each.engine, each.method, each.rank, each.scale, bytes(each.size_bytes))}</span>
          ${each.problem && html`<span class="error"> ${each.problem}</span>`}</span>
        <${Act} act=${() => change(`${PATH}/forget`, { name: each.name, engine: each.engine })} label=${words.forgetOf(each.reference, each.engine)}>${words.forget}<//>
      </li>`,
    )}</ul>
    <form class="row wrap ends" onSubmit=${add}>
      <label class="grow">${words.path}<input name="path" type="text" required pattern="/.*" placeholder="/" autocomplete="off" spellcheck=${false} /></label>
      <label>${words.name}<input name="name" type="text" maxlength="128" autocomplete="off" spellcheck=${false} /></label>
      <label>${words.scale}<input name="scale" type="number" step="any" placeholder="1" /></label>
      <button type="submit">${words.add}</button>
    </form>
    ${refused.value && html`<p class="error" role="alert">${refused.value}</p>`}
    <p class="note">${words.help}</p>`;
}
