// What a path of the server gives, asked for when it is shown, again when something changes, or every so often.
import { html, signal, useEffect, useMemo, useRef } from "../vendor/preact.js";
import { ApiError, askJson, needsKey } from "../core/api.js";
import { texts } from "../core/texts.js";

/**
 * @template T
 * @typedef {{data: T | null, error: Error | null, refresh: () => Promise<void>}} Asked
 */

/**
 * Ask a path. What was there stays while it is asked again.
 *
 * @template T
 * @param {string | null} path null = nothing is asked.
 * @param {unknown[]} [moment] What it is asked anew for.
 * @returns {Asked<T>}
 */
export function useAsked(path, moment = []) {
  const state = useMemo(() => signal({ data: /** @type {T | null} */ (null), error: /** @type {Error | null} */ (null) }), []);
  const turn = useRef(0);
  const refresh = async () => {
    if (path === null) return;
    const number = (turn.current += 1);
    /** @param {Partial<Asked<T>>} change */
    const put = (change) => {
      // What was asked last counts, not what comes last.
      if (number === turn.current) state.value = { ...state.peek(), ...change };
    };
    await askJson(path).then((data) => put({ data, error: null }), (error) => put({ error }));
  };
  useEffect(() => {
    if (!needsKey.value) refresh();
  }, [path, needsKey.value, ...moment]);
  return { ...state.value, refresh };
}

/**
 * Do something every so often while the page is in view; never twice at a time.
 *
 * @param {() => Promise<unknown>} act @param {number} everyMs @param {unknown[]} [moment]
 */
export function useRepeated(act, everyMs, moment = []) {
  useEffect(() => {
    let timer = 0;
    let isOver = false;
    const look = async () => {
      if (!document.hidden) await act();
      if (!isOver) timer = setTimeout(look, everyMs);
    };
    look();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [everyMs, ...moment]);
}

/** Why something is not shown. @param {{error: Error | null}} props */
export function Trouble({ error }) {
  if (error === null) return null;
  const isForbidden = error instanceof ApiError && error.status === 403;
  return html`<p class="trouble" role=${isForbidden ? null : "alert"}>${isForbidden ? texts.error.forbidden : error.message}</p>`;
}
