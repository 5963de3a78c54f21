// Follows an answer that grows, until its reader moves; reaching the end follows again.
import { html, signal, useEffect, useLayoutEffect, useRef } from "../vendor/preact.js";
import { texts } from "../core/texts.js";
import { Icon } from "./icon.js";

const NEAR_PX = 24;
const CONTROLS = "button, summary, a, select, input, textarea, label";

/** Whether the end is kept in view. Only what the reader does ends it, never the height of what came. */
export const isFollowing = signal(true);
let log = /** @type {HTMLElement | null} */ (null);

const isAtEnd = (/** @type {HTMLElement} */ of) => of.scrollHeight - of.scrollTop - of.clientHeight < NEAR_PX;

export function toEnd() {
  isFollowing.value = true;
  if (log) log.scrollTop = log.scrollHeight;
}

/** @param {Event} event */
function onReader(event) {
  if (event instanceof WheelEvent && event.deltaY >= 0) return;
  // Who presses a button does not read on elsewhere.
  if (["pointerdown", "keydown"].includes(event.type) && event.target instanceof Element && event.target.closest(CONTROLS)) return;
  if (event instanceof KeyboardEvent && !["ArrowUp", "PageUp", "Home"].includes(event.key)) return;
  if (log && log.scrollHeight > log.clientHeight) isFollowing.value = false;
}

function onScroll() {
  if (log && isAtEnd(log)) isFollowing.value = true;
}

/**
 * Keep the end of an element in view, of one at a time.
 *
 * @param {unknown[]} moment What changes when more has come.
 * @returns The ref of the element.
 */
export function useFollowing(moment) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    log = element.current;
    isFollowing.value = true;
    for (const type of ["wheel", "touchmove", "keydown", "pointerdown"]) log?.addEventListener(type, onReader, { passive: true });
    log?.addEventListener("scroll", onScroll, { passive: true });
    return () => (log = null);
  }, []);
  useLayoutEffect(() => {
    if (log && isFollowing.value) log.scrollTop = log.scrollHeight;
  }, moment);
  return element;
}

/** A button to the end, where that is not in view. */
export function ToEnd() {
  if (isFollowing.value) return null;
  return html`<button type="button" class="to-end" aria-label=${texts.chat.toEnd} title=${texts.chat.toEnd} onClick=${toEnd}><${Icon} name="down" /></button>`;
}
