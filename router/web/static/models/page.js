// The models: what is here and where it stands, getting more, and what is set on them.
import { html } from "../vendor/preact.js";
import { Sheet } from "../sheet/sheet.js";
import { Boundary } from "../parts/boundary.js";
import { useAsked } from "../sheet/asked.js";
import { models } from "../core/server.js";
import { texts } from "../core/page_texts.js";
import { Get } from "./get.js";
import { ModelRow } from "./model.js";
import { Pulls } from "./pulls.js";

/** @typedef {import("../core/server.js").Schemas["mlxr.ModelFits"]} Fits */

export function ModelsPage() {
  const list = models.value;
  const moment = list?.map(({ id, forms }) => `${id} ${forms.length}`).join();
  const fits = /** @type {import("../sheet/asked.js").Asked<Fits>} */ (useAsked("/v1/mlxr/models/fit", [moment]));
  const mine = list?.filter((each) => each.parent === undefined) ?? [];
  return html`<${Sheet} title=${texts.models.title}>
    <${Boundary}><${Get} /><//>
    <${Boundary}><${Pulls} /><//>
    <section aria-label=${texts.models.here}>
      <h2>${texts.models.here}</h2>
      ${list?.length === 0 && html`<p>${texts.models.none}</p>`}
      <ul class="cards">
        ${mine.map((each) => html`<${Boundary} key=${each.id}><${ModelRow} model=${each} fit=${fits.data?.models.find(({ model }) => model === each.id) ?? null} /><//>`)}
      </ul>
    </section>
  <//>`;
}
