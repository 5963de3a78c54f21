// Requests that run or wait, each with its end in one's hand.
import { html } from "../vendor/preact.js";
import { count, duration } from "../lib/format.js";
import { Act } from "../sheet/act.js";
import { Table } from "../parts/table.js";
import { ask } from "../core/api.js";
import { texts } from "../core/page_texts.js";
import { look, requests } from "./data.js";

/** @typedef {import("./data.js").Request} Request */

export function Requests() {
  const words = texts.machine;
  const list = requests.value;
  return html`<section aria-label=${words.requests}>
    <h2>${words.requests}</h2>
    ${list.length === 0 ? html`<p class="note">${words.noRequests}</p>` : html`<${Table} caption=${words.requests} head=${words.requestHead} rows=${list.map(rowOf)} />`}
  </section>`;
}

/** @param {Request} request */
function rowOf(request) {
  const words = texts.machine;
  const { id, prompt_tokens: prompt, prompt_tokens_done: done, prompt_tokens_cached: cached } = request;
  const cancel = () => ask(`/v1/mlxr/requests/${encodeURIComponent(id)}/cancel`, { method: "POST" }).then(look);
  return [
    html`${request.model} <span class="note">${[request.engine, request.protocol, request.priority].filter(Boolean).join(", ")}</span>`,
    request.state,
    duration(request.age_s * 1000),
    prompt === null ? "–" : [done === null || done === prompt ? count(prompt) : words.of(count(done), count(prompt)), cached ? words.cached(count(cached)) : null].filter(Boolean).join(", "),
    request.output_tokens.map(count).join(" + ") || "–",
    html`${request.client}${request.is_client_gone && ` (${words.gone})`}`,
    html`<${Act} act=${cancel} look="danger" label=${words.cancelOf(id)}>${words.cancel}<//>`,
  ];
}
