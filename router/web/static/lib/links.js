// Which addresses of a model's text may become links. Pure.

const SCHEMES = new Set(["http:", "https:", "mailto:"]);

/**
 * The address, if a click on it can do no more than open a page or a letter; otherwise null.
 *
 * @param {string} address
 */
export function safeAddress(address) {
  // What is relative would lead into this page.
  if (!/^[a-z][a-z0-9+.-]*:/i.test(address)) return null;
  try {
    const url = new URL(address);
    return SCHEMES.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
