// The conversations at the side, and the search in them.
import { html, signal, useEffect } from "../vendor/preact.js";
import { needsKey } from "../core/api.js";
import { addressOf, follow } from "../core/route.js";
import { texts } from "../core/texts.js";
import { Icon } from "../parts/icon.js";
import { Dialog } from "../parts/dialog.js";
import { complain } from "../core/status.js";
import { changeConversation, deleteConversation, entries, exportConversation, hasMore, isArchiveShown, moreEntries, query, refreshEntries, search } from "./kept.js";
import { conversationId, startChat } from "../chat/state.js";

/** @typedef {import("./kept.js").Entry} Entry */

const edited = signal(/** @type {Entry | null} */ (null));

/** @param {{onChosen: () => void}} props */
export function ConversationList({ onChosen }) {
  useEffect(() => void refreshEntries(), [isArchiveShown.value, needsKey.value]);
  const list = entries.value;
  return html`<section class="conversations" aria-label=${texts.list.label}>
    <input id="search" type="search" placeholder=${texts.list.search} aria-label=${texts.list.search} value=${query.value}
      onInput=${(/** @type {any} */ event) => search(event.target.value)} />
    <ul>
      ${list?.map((each) => html`<${EntryRow} key=${each.id} entry=${each} onChosen=${onChosen} />`)}
      ${hasMore.value && html`<li><button type="button" class="plain wide" onClick=${() => moreEntries().then(focusMore)}>${texts.list.loadMore}</button></li>`}
    </ul>
    ${list?.length === 0 && html`<p class="note">${query.value ? texts.list.nothing : texts.list.empty}</p>`}
    <label class="inline"><input type="checkbox" checked=${isArchiveShown.value} onChange=${() => (isArchiveShown.value = !isArchiveShown.value)} /> ${texts.list.archive}</label>
    <${EntryDialog} />
  </section>`;
}

/** Whoever asked by keys goes on where the list went on, where the button has gone. */
function focusMore() {
  if (document.activeElement === document.body) /** @type {HTMLElement | null} */ (document.querySelector(".conversations li:last-child a"))?.focus();
}

/** @param {{entry: Entry, onChosen: () => void}} props */
function EntryRow({ entry, onChosen }) {
  const isOpen = entry.id === conversationId.value;
  const title = entry.title || texts.list.untitled;
  return html`<li>
    <a href=${addressOf(entry.id)} aria-current=${isOpen ? "page" : null}
      onClick=${(/** @type {MouseEvent} */ event) => (follow(event, addressOf(entry.id)), onChosen())}>
      ${entry.is_pinned && html`<span class="pin"><${Icon} name="pin" /><span class="unseen">${texts.list.pinned}</span></span>`}<span class="title">${title}</span>
      ${entry.snippet && html`<span class="snippet">${entry.snippet.parts.map(([text, isHit]) => (isHit ? html`<mark>${text}</mark>` : text))}</span>`}
    </a>
    <button type="button" class="plain" aria-label=${texts.list.more(title)} onClick=${() => (edited.value = entry)}><${Icon} name="more" /></button>
  </li>`;
}

function EntryDialog() {
  const entry = edited.value;
  const close = () => (edited.value = null);
  /** @param {() => Promise<unknown>} act */
  const doing = (act) => () => act().catch(complain).finally(close);
  /** @param {Record<string, unknown>} change */
  const change = (change) => doing(() => changeConversation(/** @type {Entry} */ (entry).id, change));
  return html`<${Dialog} title=${texts.list.dialog} isOpen=${entry !== null} onClose=${close}>
    ${entry && html`<form onSubmit=${(/** @type {SubmitEvent} */ event) => rename(event, entry, close)}>
      <label>${texts.list.title}<input name="title" maxlength="200" value=${entry.title} /></label>
      <p class="row wrap">
        <button type="submit">${texts.list.rename}</button>
        <button type="button" class="quiet" onClick=${change({ is_pinned: !entry.is_pinned })}>${entry.is_pinned ? texts.list.unpin : texts.list.pin}</button>
        <button type="button" class="quiet" onClick=${change({ is_archived: !entry.is_archived })}>${entry.is_archived ? texts.list.unarchive : texts.list.toArchive}</button>
        <button type="button" class="quiet" onClick=${doing(() => exportConversation(entry.id, "markdown"))}>${texts.list.markdown}</button>
        <button type="button" class="quiet" onClick=${doing(() => exportConversation(entry.id, "jsonl"))}>${texts.list.jsonl}</button>
      </p>
      <p class="row wrap"><button type="button" class="danger" onClick=${doing(() => remove(entry))}>${texts.list.remove}</button><span class="note">${texts.list.removeHelp}</span></p>
      <p class="row"><button type="button" class="quiet" onClick=${close}>${texts.options.close}</button></p>
    </form>`}
  <//>`;
}

/** @param {SubmitEvent} event @param {Entry} entry @param {() => void} close */
function rename(event, entry, close) {
  event.preventDefault();
  const title = String(new FormData(/** @type {HTMLFormElement} */ (event.target)).get("title")).trim();
  changeConversation(entry.id, { title: title || null }).catch(complain).finally(close);
}

/** @param {Entry} entry */
async function remove(entry) {
  await deleteConversation(entry.id);
  if (conversationId.value === entry.id) startChat();
}
