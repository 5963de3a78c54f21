// A conversation as a tree: what follows a message, and which of several is shown. Pure.

/**
 * @typedef {import("./answer.js").Answer} Answer
 * @typedef {object} Message
 * @property {string} id
 * @property {string | null} parent
 * @property {"user" | "assistant"} role
 * @property {string} text Of a user.
 * @property {string[]} images Of a user, as data: URLs.
 * @property {import("./attached.js").Document[]} documents Of a user.
 * @property {Answer | null} answer Of an assistant.
 * @property {string} model
 * @property {string} engine As it was asked for.
 * @property {string | null} itemId Its last item in the conversation that the server keeps; null = not known, or not kept.
 * @typedef {{messages: Map<string, Message>, head: string | null}} Thread
 */

/** @returns {Thread} */
export function newThread() {
  return { messages: new Map(), head: null };
}

/** Put a message behind its parent, and show it. @param {Thread} thread @param {Message} message */
export function add(thread, message) {
  thread.messages.set(message.id, message);
  thread.head = message.id;
}

/** The messages from the first to the head. @param {Thread} thread @returns {Message[]} */
export function path(thread) {
  const shown = [];
  for (let id = thread.head; id !== null; ) {
    const message = thread.messages.get(id);
    if (!message) break;
    shown.push(message);
    id = message.parent;
  }
  return shown.reverse();
}

/** What stands in a message's place, itself included, oldest first. @param {Thread} thread @param {Message} message */
export function siblings(thread, message) {
  return [...thread.messages.values()].filter((each) => each.parent === message.parent && each.role === message.role);
}

/** Show a message, and what was said last behind it. @param {Thread} thread @param {Message} message */
export function show(thread, message) {
  const all = [...thread.messages.values()];
  let last = message;
  for (let next; (next = all.findLast((each) => each.parent === last.id)); ) last = next;
  thread.head = last.id;
}
