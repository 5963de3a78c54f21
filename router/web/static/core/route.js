// The page's address: which page is shown, and which conversation is open.
import { computed, signal } from "../vendor/preact.js";

export const ROOT = "/ui/";
const CONVERSATION = /^\/ui\/c\/([A-Za-z0-9_-]{1,80})$/;
const PAGE = /^\/ui\/([a-z]{2,20})\/?$/;

const address = signal(location.pathname);
addEventListener("popstate", () => (address.value = location.pathname));

/** The name in the address of a page; null = the chat. */
export const pageInAddress = computed(() => PAGE.exec(address.value)?.[1] ?? null);

/** The id in the address, or null. */
export function conversationInAddress() {
  return CONVERSATION.exec(address.value)?.[1] ?? null;
}

/** @param {string | null} conversationId */
export function addressOf(conversationId) {
  return conversationId === null ? ROOT : `${ROOT}c/${conversationId}`;
}

/** @param {string} path */
export function goTo(path) {
  if (location.pathname !== path) history.pushState(null, "", path);
  address.value = path;
}

/** @param {string | null} conversationId */
export function go(conversationId) {
  goTo(addressOf(conversationId));
}

/** Follow a link within the page, unless another window is wanted. @param {MouseEvent} event @param {string} path */
export function follow(event, path) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  goTo(path);
}
