// What a key press means. Pure.

/**
 * Whether it is Ctrl (on a Mac: Command) and a letter.
 *
 * @param {KeyboardEvent} event @param {string} letter @param {boolean} [isShifted]
 */
export function isChordOf(event, letter, isShifted = false) {
  const isHeld = event.ctrlKey !== event.metaKey;
  return isHeld && !event.altKey && event.shiftKey === isShifted && event.key.toLowerCase() === letter;
}

/** Whether a Return sends: not one that ends a word of an input method. @param {KeyboardEvent} event */
export function isSend(event) {
  // Safari ends a composition before the key's event, which then has the code 229 only.
  return event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
}

/** @param {EventTarget | null} target */
export function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(?:INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
