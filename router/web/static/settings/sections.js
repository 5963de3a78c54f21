// The keys of the config by their sections. Pure.

/** @typedef {import("../../types/api.js").components["schemas"]["mlxr.ConfigKey"]} Key */

/**
 * The sections with the keys in which a text stands, in the server's order.
 *
 * @param {readonly Key[]} keys @param {string} text @returns {{name: string, keys: Key[]}[]}
 */
export function sectionsOf(keys, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  /** @type {Map<string, Key[]>} */
  const sections = new Map();
  for (const each of keys) {
    const all = `${each.key} ${each.what}`.toLowerCase();
    if (!words.every((word) => all.includes(word))) continue;
    const name = each.key.includes(".") ? each.key.slice(0, each.key.indexOf(".")) : "";
    sections.set(name, [...(sections.get(name) ?? []), each]);
  }
  return [...sections].map(([name, keys]) => ({ name, keys }));
}
