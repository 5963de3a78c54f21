// The conversations that the server keeps: their list, and what is done with one.
import { download } from "../parts/download.js";
import { batch, signal } from "../vendor/preact.js";
import { ApiError, ask, askJson } from "../core/api.js";
import { complain } from "../core/status.js";

const LIST = "/v1/mlxr/conversations";
const PAGE = 100;
const MAX_FOUND = 200; // what was found is one page
const TYPING_MS = 200;
const UNAVAILABLE = 503;

/**
 * @typedef {{id: string, title: string, is_pinned: boolean, is_archived: boolean,
 *   snippet?: {parts: [string, boolean][]}}} Entry
 */

/** @type {import("../vendor/preact.js").Signal<Entry[] | null>} */
export const entries = signal(null);
export const query = signal("");
export const isArchiveShown = signal(false);
/** Whether there are more than those. */
export const hasMore = signal(false);
let canKeep = true; // as far as is known

let asked = 0;

/** Read the list anew, as much of it as is shown. */
export async function refreshEntries() {
  await read(query.value.trim() ? 0 : (entries.value?.length ?? 0));
}

/** Show more of the list. */
export async function moreEntries() {
  await read((entries.value?.length ?? 0) + 1);
}

/** @param {number} num That are wanted at least, if there are so many. */
async function read(num) {
  const number = ++asked;
  /** @type {Entry[]} */
  let found = [];
  let isMore = true;
  try {
    for (const wanted = Math.max(num, 1); isMore && found.length < wanted; ) {
      const page = await askJson(`${LIST}?${parametersAfter(found.at(-1))}`);
      found = [...found, ...page.conversations];
      isMore = page.has_more && !query.value.trim();
      // What was asked last counts, not what comes last.
      if (number !== asked) return;
    }
  } catch {
    // A server that has gone is told of elsewhere.
    if (number !== asked) return;
    isMore = false;
  }
  batch(() => {
    entries.value = found;
    hasMore.value = isMore;
  });
}

/** @param {Entry | undefined} last Of those that are known. */
function parametersAfter(last) {
  const words = query.value.trim();
  const parameters = new URLSearchParams({ limit: String(words ? MAX_FOUND : PAGE) });
  if (words) parameters.set("q", words);
  if (isArchiveShown.value) parameters.set("archived", "true");
  if (last) parameters.set("after", last.id);
  return parameters;
}

let timer = 0;

/** @param {string} text */
export function search(text) {
  query.value = text;
  clearTimeout(timer);
  timer = setTimeout(refreshEntries, TYPING_MS);
}

/** Begin one; null where the server keeps none. @returns {Promise<string | null>} */
export async function createConversation() {
  if (!canKeep) return null;
  try {
    return (await askJson("/v1/conversations", { body: {} })).id;
  } catch (error) {
    if (!(error instanceof ApiError && error.status === UNAVAILABLE)) throw error;
    canKeep = false;
    complain(error);
    return null;
  }
}

/** All branches of one. @param {string} id */
export const treeOf = (id) => askJson(`${LIST}/${id}`);

/** @param {string} id @param {Record<string, unknown>} change */
export async function changeConversation(id, change) {
  await ask(`${LIST}/${id}`, { method: "PATCH", body: change });
  if (!("head_item_id" in change)) await refreshEntries();
}

/** @param {string} id */
export async function deleteConversation(id) {
  await ask(`/v1/conversations/${id}`, { method: "DELETE" });
  await refreshEntries();
}

/** What leads to the head, the last first. @param {string} id @returns {Promise<any[]>} */
export async function lastItems(id) {
  return (await askJson(`/v1/conversations/${id}/items?limit=20&order=desc`)).data;
}

/** Save one as a file. @param {string} id @param {"markdown" | "jsonl"} format */
export async function exportConversation(id, format) {
  const response = await ask(`${LIST}/${id}/export?format=${format}`);
  download(await response.blob(), `${id}.${format === "markdown" ? "md" : "jsonl"}`);
}
