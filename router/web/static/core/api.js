// Requests to the server that the page comes from. Errors are `ApiError`s whose message can be shown.
import { signal } from "../vendor/preact.js";
import { readEvents } from "../lib/sse.js";
import { texts } from "./texts.js";

const KEY = "mlxr.key";

/** Whether the server wants a key that the page does not have. */
export const needsKey = signal(false);

export class ApiError extends Error {
  /** @param {string} message @param {number | null} status Of HTTP; null = no server. */
  constructor(message, status = null) {
    super(message);
    this.status = status;
  }
}

function key() {
  try {
    return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** @param {string} value @param {boolean} isKept Whether also when the browser is closed. */
export function useKey(value, isKept) {
  forgetKey(); // one of the other storage might go before it
  (isKept ? localStorage : sessionStorage).setItem(KEY, value);
  needsKey.value = false;
}

export function forgetKey() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

export function hasKey() {
  return key() !== null;
}

/**
 * Ask, and return the answer when it has begun.
 *
 * @param {string} path
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>}} [options] A body that is no `Blob` is sent as JSON.
 * @returns {Promise<Response>}
 */
export async function ask(path, { method, body, headers } = {}) {
  const secret = key();
  let response;
  try {
    response = await fetch(path, {
      method: method ?? (body === undefined ? "GET" : "POST"),
      body: body === undefined || body instanceof Blob ? body : JSON.stringify(body),
      headers: {
        ...(body === undefined ? {} : { "Content-Type": body instanceof Blob ? "application/octet-stream" : "application/json" }),
        ...(secret === null ? {} : { Authorization: `Bearer ${secret}` }),
        ...headers,
      },
    });
  } catch {
    throw new ApiError(texts.error.network);
  }
  if (response.ok) return response;
  if (response.status === 401) needsKey.value = true;
  throw await errorOf(response);
}

/** @param {Response} response */
async function errorOf(response) {
  const body = await response.json().catch(() => null);
  const message = body?.error?.message ?? body?.error ?? texts.error.unknown;
  return new ApiError(String(message), response.status);
}

/** @param {string} path @param {Parameters<typeof ask>[1]} [options] @returns {Promise<any>} */
export async function askJson(path, options) {
  return (await ask(path, options)).json();
}

/**
 * Ask, and read the events of the answer until it ends.
 *
 * @param {string} path
 * @param {Parameters<typeof ask>[1]} options
 * @param {(event: {id: string | undefined, data: any}) => void} onEvent
 */
export async function follow(path, options, onEvent) {
  const response = await ask(path, options);
  try {
    if (response.body) await readEvents(response.body, onEvent);
  } catch {
    throw new ApiError(texts.error.network);
  }
}
