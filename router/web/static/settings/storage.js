// What is kept on the server's disk, taking it along, and throwing it away.
import { html, useRef, useSignal } from "../vendor/preact.js";
import { bytes, count } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Dialog } from "../parts/dialog.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { download } from "../parts/download.js";
import { ask, askJson } from "../core/api.js";
import { goTo, ROOT } from "../core/route.js";
import { models } from "../core/server.js";
import { announce, complain } from "../core/status.js";
import { texts } from "../core/page_texts.js";
import { refreshEntries } from "../conversations/kept.js";
import { startChat } from "../chat/state.js";

/** @typedef {import("../core/server.js").Schemas} Schemas */

const CONVERSATIONS = "/v1/mlxr/conversations";
const CONTEXTS = "/v1/mlxr/contexts";

export function Storage() {
  const words = texts.storage;
  const { data, error, refresh } = /** @type {import("../sheet/asked.js").Asked<Schemas["mlxr.ConversationSizes"]>} */ (useAsked(`${CONVERSATIONS}/sizes`));
  const told = /** @type {import("../sheet/asked.js").Asked<Schemas["mlxr.ContextList"]>} */ (useAsked(`${CONTEXTS}?limit=1`));
  const numTold = told.data?.num_contexts ?? 0;
  const isAsking = useSignal(false);
  const result = useSignal("");
  const remove = async () => {
    for (const path of [CONVERSATIONS, CONTEXTS]) await ask(path, { method: "DELETE" });
    isAsking.value = false;
    announce((result.value = words.deleted));
    startChat(); // its conversation is gone
    goTo(`${ROOT}settings`);
    await Promise.all([refresh(), told.refresh(), refreshEntries()]);
  };
  const save = async () => download(await (await ask(`${CONVERSATIONS}/export`)).blob(), "conversations.jsonl");
  const weights = models.value?.flatMap(({ forms }) => forms.map((each) => each.weight_bytes ?? 0)).reduce((sum, each) => sum + each, 0);
  return html`<section aria-label=${words.title}>
    <h2>${words.title}</h2>
    <${Trouble} error=${error} />
    <dl class="told">
      ${weights !== undefined && html`<dt>${words.models}</dt><dd>${bytes(weights)}</dd>`}
      ${data && html`<dt>${words.conversations}</dt><dd>${words.of(count(data.num_conversations), count(data.num_items), bytes(data.num_bytes))}</dd>
        <dt>${words.responses}</dt><dd>${words.answers(count(data.num_responses), bytes(data.response_bytes))}</dd>
        ${numTold > 0 && html`<dt>${words.summaries}</dt><dd>${words.answers(count(numTold), bytes(told.data?.num_bytes ?? 0))}</dd>`}
        ${data.file_bytes != null && html`<dt>${words.files}</dt><dd>${bytes(data.file_bytes)}</dd>`}`}
    </dl>
    <div class="row wrap"><${Act} act=${save}>${words.save}<//><${Import} onDone=${(/** @type {string} */ text) => ((result.value = text), refresh(), refreshEntries())} />
      <button type="button" class="danger" disabled=${data?.num_conversations === 0 && numTold === 0} onClick=${() => (isAsking.value = true)}>${words.remove}</button></div>
    ${result.value && html`<p role="status">${result.value}</p>`}
    <${Dialog} title=${words.remove} isOpen=${isAsking.value} onClose=${() => (isAsking.value = false)}>
      <p>${words.removeHelp}</p>
      <p class="row"><button type="button" class="quiet" autofocus onClick=${() => (isAsking.value = false)}>${texts.remove.keep}</button><${Act} act=${remove} look="danger">${texts.remove.remove}<//></p>
    <//>
  </section>`;
}

/** @param {{onDone: (text: string) => void}} props */
function Import({ onDone }) {
  const words = texts.storage;
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const isBusy = useSignal(false);
  const read = async () => {
    const file = input.current?.files?.[0];
    if (!file) return;
    isBusy.value = true;
    try {
      onDone(words.imported(await askJson(`${CONVERSATIONS}/import`, { body: file })));
    } catch (error) {
      complain(error);
    }
    if (input.current) input.current.value = "";
    isBusy.value = false;
  };
  return html`<input ref=${input} type="file" accept=".json,.jsonl,.zip" hidden onChange=${read} />
    <button type="button" class="quiet" disabled=${isBusy.value} onClick=${() => input.current?.click()}>${words.load}</button>`;
}
