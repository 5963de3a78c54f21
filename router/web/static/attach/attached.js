// Pictures and documents of messages, as they are shown: before they are sent, and after.
import { html, useRef } from "../vendor/preact.js";
import { count, percent } from "../lib/format.js";
import { Icon } from "../parts/icon.js";
import { announce } from "../core/status.js";
import { texts } from "../core/texts.js";
import { isPicture } from "./attachments.js";

/**
 * @typedef {import("./attachments.js").Attachments} Attachments
 * @typedef {import("./attachments.js").Picture} Picture
 * @typedef {import("./attachments.js").Sheet} Sheet
 */

/** @param {{attachments: Attachments}} props */
export function AttachButton({ attachments }) {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  /** @param {any} event */
  const take = ({ target }) => {
    attachments.attach([...target.files]);
    target.value = ""; // the same file can be chosen again
    document.getElementById("composer")?.focus();
  };
  return html`
    <input ref=${input} type="file" multiple hidden aria-label=${texts.attach.button} onChange=${take} />
    <button type="button" class="plain clip" aria-label=${texts.attach.button} title=${texts.attach.button} onClick=${() => input.current?.click()}><${Icon} name="clip" /></button>
  `;
}

/** @param {{attachments: Attachments}} props */
export function Attached({ attachments }) {
  const list = attachments.all.value;
  if (list.length === 0) return null;
  /** @param {Picture | Sheet} what */
  const takeAway = (what) => {
    attachments.remove(what);
    announce(texts.attach.removed(what.name));
    document.getElementById("composer")?.focus();
  };
  return html`<ul class="attached" aria-label=${texts.attach.list}>
      ${list.map(
        (each) => html`<li>
          ${isPicture(each) ? html`<img src=${each.url} alt=${each.name} />` : html`<${SheetView} sheet=${each} counted=${attachments.countOf(each)} />`}
          <button type="button" class="plain" aria-label=${texts.attach.remove(each.name)} onClick=${() => takeAway(each)}><${Icon} name="close" /></button>
        </li>`,
      )}
    </ul>
    ${attachments.obstacle.value && html`<p class="error" role="alert">${attachments.obstacle.value}</p>`}`;
}

/** @param {{sheet: Sheet, counted: ReturnType<Attachments["countOf"]>}} props */
function SheetView({ sheet, counted }) {
  const { name, read, numPages, notes } = sheet;
  const size = counted ? texts.attach.share(count(counted.numTokens), percent(counted.share), counted.of) : null;
  const said = read === null ? [texts.attach.reading] : [numPages && texts.attach.pages(numPages), size].filter(Boolean);
  return html`<div class="sheet"><strong>${name}</strong><span class=${read === null ? "note pulse" : "note"}>${said.join(", ")}</span>${notes.map((note) => html`<span class="note">${note}</span>`)}</div>`;
}

/** What went with a message. @param {{message: import("./attachments.js").Attached}} props */
export function Sent({ message: { images, documents } }) {
  return html`
    ${images.length > 0 &&
    html`<div class="pictures">${images.map((url, number) => html`<img src=${url} alt=${texts.attach.shown(number + 1)} loading="lazy" />`)}</div>`}
    ${documents.map(({ name, text }) => html`<details class="fold sent"><summary>${name}</summary><pre tabindex="0">${text}</pre></details>`)}
  `;
}
