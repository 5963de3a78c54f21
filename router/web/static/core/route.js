// The page's address: which conversation is open.
import { signal } from "../vendor/preact.js";

export const ROOT = "/ui/";
const CONVERSATION = /^\/ui\/c\/([A-Za-z0-9_-]{1,80})$/;

const address = signal(location.pathname);
addEventListener("popstate", () => (address.value = location.pathname));

/** The id in the address, or null. */
export function conversationInAddress() {
  return CONVERSATION.exec(address.value)?.[1] ?? null;
}

/** @param {string | null} conversationId */
export function addressOf(conversationId) {
  return conversationId === null ? ROOT : `${ROOT}c/${conversationId}`;
}

/** @param {string | null} conversationId */
export function go(conversationId) {
  const wanted = addressOf(conversationId);
  if (location.pathname !== wanted) history.pushState(null, "", wanted);
  address.value = wanted;
}

/** Follow a link within the page, unless another window is wanted. @param {MouseEvent} event @param {string | null} conversationId */
export function follow(event, conversationId) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(conversationId);
}
