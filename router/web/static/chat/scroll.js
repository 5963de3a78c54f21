// Follows an answer that grows, until its reader moves; reaching the end follows again.
import { signal, useEffect, useLayoutEffect, useRef } from "../vendor/preact.js";
import { shown, ticks } from "./state.js";

const NEAR_PX = 24;

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
  if (event instanceof KeyboardEvent && !["ArrowUp", "PageUp", "Home"].includes(event.key)) return;
  if (log && log.scrollHeight > log.clientHeight) isFollowing.value = false;
}

function onScroll() {
  if (log && isAtEnd(log)) isFollowing.value = true;
}

/** Returns the ref of the element that is scrolled. */
export function useFollowing() {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    log = element.current;
    for (const type of ["wheel", "touchmove", "keydown", "pointerdown"]) log?.addEventListener(type, onReader, { passive: true });
    log?.addEventListener("scroll", onScroll, { passive: true });
  }, []);
  const moment = [ticks.value, shown.value];
  useLayoutEffect(() => {
    if (log && isFollowing.value) log.scrollTop = log.scrollHeight;
  }, moment);
  return element;
}
