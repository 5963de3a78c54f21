// API keys: who may ask for what, and what each used.
import { html, useSignal } from "../vendor/preact.js";
import { count } from "../lib/format.js";
import { day, moment } from "../sheet/time.js";
import { Act } from "../sheet/act.js";
import { CopyButton } from "../parts/copy.js";
import { Dialog } from "../parts/dialog.js";
import { Table } from "../parts/table.js";
import { Trouble, useAsked } from "../sheet/asked.js";
import { ask, askJson, useKey } from "../core/api.js";
import { texts } from "../core/page_texts.js";
import { Sessions } from "./sessions.js";

/**
 * @typedef {import("../core/server.js").Schemas} Schemas
 * @typedef {Schemas["mlxr.KeyRow"]} Row
 * @typedef {Schemas["mlxr.MadeKey"]} Made
 */

const PATH = "/v1/mlxr/keys";
const DAYS = 30;

export function Keys() {
  const words = texts.keys;
  const { data, error, refresh } = /** @type {import("../sheet/asked.js").Asked<Schemas["mlxr.KeyList"]>} */ (useAsked(PATH));
  const usage = /** @type {import("../sheet/asked.js").Asked<Schemas["mlxr.UsageList"]>} */ (useAsked(`${PATH}/usage?days=${DAYS}`, [data]));
  const made = useSignal(/** @type {Made | null} */ (null));
  const going = useSignal(/** @type {Row | null} */ (null));
  /** @param {Made} key */
  const onMade = async (key) => {
    // From now on the page needs a key itself.
    if (key.is_first && key.scope === "admin") useKey(key.secret, false);
    made.value = key;
    await refresh();
  };
  const revoke = async () => {
    await ask(`${PATH}/${encodeURIComponent(/** @type {Row} */ (going.value).id)}`, { method: "DELETE" });
    going.value = null;
    await refresh();
  };
  const list = data?.keys ?? [];
  return html`<section aria-label=${words.title}>
    <h2>${words.title}</h2>
    <${Trouble} error=${error} />
    ${data && list.length === 0 && html`<p class="note">${words.none}</p>`}
    ${list.length > 0 && html`<${Table} caption=${words.title} head=${[...words.head, words.used(DAYS), words.end]}
      rows=${list.map((each) => [...cellsOf(each), usedOf(each, usage.data), each.state === "good" ? html`<button type="button" class="danger" aria-label=${words.revokeOf(each.name)} onClick=${() => (going.value = each)}>${words.revoke}</button>` : words.states[each.state ?? ""]])} />`}
    ${data && html`<${Sessions} keys=${list} />`}
    ${data && html`<${MakeKey} isFirst=${list.every(({ state }) => state !== "good")} onMade=${onMade} />`}
    <${Dialog} title=${words.made} isOpen=${made.value !== null} onClose=${() => (made.value = null)}>
      ${made.value && html`<p>${words.once}</p><p class="row"><code class="grow">${made.value.secret}</code><${CopyButton} text=${() => made.value?.secret ?? ""} label=${words.copy} isNamed /></p>`}
      <p><button type="button" onClick=${() => (made.value = null)}>${texts.options.close}</button></p>
    <//>
    <${Dialog} title=${words.revokeOf(going.value?.name ?? "")} isOpen=${going.value !== null} onClose=${() => (going.value = null)}>
      <p>${words.revokeHelp}</p>
      <p class="row"><button type="button" class="quiet" autofocus onClick=${() => (going.value = null)}>${words.keep}</button><${Act} act=${revoke} look="danger">${words.revoke}<//></p>
    <//>
  </section>`;
}

/** @param {Row} key @returns {unknown[]} */
function cellsOf(key) {
  const words = texts.keys;
  const limits = [
    key.requests_per_minute == null ? null : words.perMinute(count(key.requests_per_minute), words.requests),
    key.tokens_per_minute == null ? null : words.perMinute(count(key.tokens_per_minute), words.tokens),
  ].filter(Boolean);
  return [
    html`${key.name} <span class="note"><code>${key.prefix}…</code></span>`,
    key.scope,
    key.models == null ? words.all : key.models.join(", "),
    limits.join(", ") || "–",
    day(key.created_at),
    key.expires_at == null ? words.never : day(key.expires_at),
    key.last_used_at == null ? words.never : moment(key.last_used_at),
  ];
}

/** @param {Row} key @param {Schemas["mlxr.UsageList"] | null} usage */
function usedOf(key, usage) {
  const mine = usage?.usage.filter(({ key_id: id }) => id === key.id) ?? [];
  if (mine.length === 0) return "–";
  /** @param {"num_requests" | "num_prompt_tokens" | "num_answer_tokens"} name */
  const sum = (name) => count(mine.reduce((total, each) => total + (each[name] ?? 0), 0));
  return texts.keys.usage(sum("num_requests"), sum("num_prompt_tokens"), sum("num_answer_tokens"));
}

/** @param {{isFirst: boolean, onMade: (key: Made) => Promise<void>}} props */
function MakeKey({ isFirst, onMade }) {
  const words = texts.keys;
  const error = useSignal("");
  /** @param {SubmitEvent} event */
  const make = async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    try {
      await onMade(await askJson(PATH, { body: wishesOf(new FormData(form)) }));
      form.reset();
      error.value = "";
    } catch (thrown) {
      error.value = /** @type {Error} */ (thrown).message;
    }
  };
  return html`<form onSubmit=${make}>
    ${isFirst && html`<p class="bad">${words.first}</p>`}
    <p class="row wrap ends">
      <label>${words.name}<input name="name" type="text" required maxlength="64" autocomplete="off" spellcheck=${false} /></label>
      <label>${words.scope}<select name="scope">${["inference", "models", "admin", "metrics"].map((each) => html`<option value=${each} selected=${each === (isFirst ? "admin" : "inference")}>${each}</option>`)}</select></label>
      <label>${words.models}<input name="models" type="text" placeholder=${words.all} autocomplete="off" spellcheck=${false} /></label>
      <label>${words.expires}<input name="expires" type="text" placeholder=${words.never} autocomplete="off" /></label>
      <label>${words.perMinute("", words.requests)}<input name="requests" type="number" min="1" /></label>
      <label>${words.perMinute("", words.tokens)}<input name="tokens" type="number" min="1" /></label>
      <button type="submit">${words.make}</button>
    </p>
    ${error.value && html`<p class="error" role="alert">${error.value}</p>`}
  </form>`;
}

/** @param {FormData} form */
function wishesOf(form) {
  const text = (/** @type {string} */ name) => String(form.get(name)).trim();
  const number = (/** @type {string} */ name) => (text(name) === "" ? null : Number(text(name)));
  return {
    name: text("name"),
    scope: text("scope"),
    models: text("models") === "" ? null : text("models").split(/[\s,]+/),
    ...(text("expires") === "" ? {} : { expires: text("expires") }),
    requests_per_minute: number("requests"),
    tokens_per_minute: number("tokens"),
  };
}
