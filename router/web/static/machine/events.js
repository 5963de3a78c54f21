// What the server tells as it happens, newest first.
import { html } from "../vendor/preact.js";
import { lineOf } from "./readings.js";
import { clock } from "../sheet/time.js";
import { heard } from "../core/server.js";
import { texts } from "../core/page_texts.js";

export function Events() {
  const words = texts.machine;
  const list = heard.value;
  return html`<section aria-label=${words.happened}>
    <h2>${words.happened}</h2>
    ${list.length === 0 && html`<p class="note">${words.nothingHappened}</p>`}
    <ol class="events" tabindex="0" aria-label=${words.happened}>
      ${list.map(({ number, event }) => html`<li key=${number}><time>${event.at ? clock(event.at) : ""}</time> <strong>${event.type}</strong> ${lineOf(event)}</li>`)}
    </ol>
  </section>`;
}
