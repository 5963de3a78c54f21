// A conversation as the server keeps it, as the tree that is shown. Pure.
import { itemText, KINDS, newAnswer, usageOf } from "./answer.js";
import { partsOf } from "./attached.js";
import { newThread } from "./thread.js";

/**
 * @typedef {import("./answer.js").Answer} Answer
 * @typedef {import("./answer.js").Part} Part
 * @typedef {import("./thread.js").Message} Message
 * @typedef {{parent_id: string | null, response_id: string | null, is_output: boolean, item: any}} BranchItem
 * @typedef {{response_id: string, after_item_id: string | null, status: string, facts: any}} BranchAnswer
 * @typedef {{conversation: {head_item_id: string | null}, items: BranchItem[], answers: BranchAnswer[]}} Tree
 */

/** The tree of a kept conversation. @param {Tree} tree */
export function threadOf(tree) {
  const thread = newThread();
  /** The message that an item belongs to. @type {Map<string, string | null>} */
  const owners = new Map();
  const answers = new Map(tree.answers.map((each) => [each.response_id, each]));
  /** @param {string | null} id */
  const ownerOf = (id) => (id === null ? null : (owners.get(id) ?? null));
  /** @param {BranchAnswer} kept */
  const answerMessage = (kept) => {
    const known = thread.messages.get(kept.response_id);
    if (known) return known;
    const made = answered(kept, ownerOf(kept.after_item_id));
    thread.messages.set(made.id, made);
    return made;
  };
  for (const each of tree.items) {
    const kept = each.is_output && each.response_id !== null ? answers.get(each.response_id) : undefined;
    if (kept) {
      const message = answerMessage(kept);
      if (message.answer && each.item.type === "compaction") message.answer.wound = each.item.wound ?? null;
      else message.answer?.parts.push(partOf(each.item));
      message.itemId = each.item.id;
      owners.set(each.item.id, message.id);
    } else {
      const message = putIn(each, ownerOf(each.parent_id));
      if (message) thread.messages.set(message.id, message);
      owners.set(each.item.id, message ? message.id : ownerOf(each.parent_id));
    }
  }
  // Answers of which nothing came: refused, or only begun.
  for (const kept of tree.answers) answerMessage(kept);
  thread.head = headOf(thread, ownerOf(tree.conversation.head_item_id));
  return thread;
}

/** @param {import("./thread.js").Thread} thread @param {string | null} head */
function headOf(thread, head) {
  const behind = [...thread.messages.values()].findLast((each) => each.parent === head && each.answer?.parts.length === 0);
  return behind?.id ?? head;
}

/** @param {BranchAnswer} kept @param {string | null} parent @returns {Message} */
function answered({ response_id, status, facts }, parent) {
  const answer = newAnswer();
  answer.responseId = response_id;
  answer.state = status === "queued" || status === "in_progress" ? "waiting" : /** @type {any} */ (status);
  answer.timings = facts.timings ?? null;
  answer.error = facts.error?.message ?? null;
  answer.isCutByLength = facts.incomplete_details?.reason === "max_output_tokens";
  answer.usage = usageOf(facts.usage);
  return { id: response_id, parent, role: "assistant", text: "", images: [], documents: [], answer, model: facts.model, engine: "auto", itemId: null };
}

/** @param {any} item @returns {Part} */
function partOf(item) {
  return { kind: KINDS[item.type] ?? "text", text: itemText(item) ?? "", name: item.name ?? "", id: item.id, isDone: true, began: 0, ended: null };
}

/** A message that was put in; null for what is not shown. @param {BranchItem} each @param {string | null} parent @returns {Message | null} */
function putIn({ item }, parent) {
  if (item.type !== "message" || !["user", "assistant"].includes(item.role)) return null;
  const answer = item.role === "assistant" ? { ...newAnswer(), state: /** @type {const} */ ("completed"), parts: [partOf(item)] } : null;
  const parts = answer ? { text: "", images: [], documents: [] } : partsOf(item);
  return { id: item.id, parent, role: item.role, ...parts, answer, model: "", engine: "auto", itemId: item.id };
}
