// What a reload of the page leaves of what was compared: the rounds that the server keeps, without what went with them, which it has.
import { partsOf } from "../lib/attached.js";
import { treeOf } from "../conversations/kept.js";

/** @typedef {import("./state.js").Round} Round */

const STORED = "mlxr.compare-rounds";
const MAX_STORED = 20;

/** @param {Round[]} rounds */
export function storeRounds(rounds) {
  const kept = rounds.filter((each) => each.conversationId !== null && (each.numAttached === 0 || hasBegun(each)));
  try {
    sessionStorage.setItem(STORED, JSON.stringify(kept.slice(-MAX_STORED).map((each) => ({ ...each, images: [], documents: [] }))));
  } catch {
    // A browser that keeps nothing still shows the page.
  }
}

/** Whether the server has its question. @param {Round} round */
const hasBegun = (round) => round.entries.some(({ answer }) => answer.responseId !== null);

/** @returns {Round[]} */
export function storedRounds() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED) ?? "[]").map((/** @type {Round} */ each) => ({ ...each, images: each.images ?? [], documents: each.documents ?? [], numAttached: each.numAttached ?? 0 }));
  } catch {
    return [];
  }
}

/** Whether what went with a round is not here. @param {Round} round */
export const lacksAttached = ({ numAttached, images, documents }) => images.length + documents.length < numAttached;

/** Have again what went with a round. @param {Round} round */
export async function learnAttached(round) {
  if (round.conversationId === null) return;
  const { items } = await treeOf(round.conversationId);
  const said = items.map((/** @type {any} */ { item }) => item).findLast((/** @type {any} */ { id, role }) => role === "user" && (round.userItemId === null || id === round.userItemId));
  if (said) ({ images: round.images, documents: round.documents } = partsOf(said));
}
