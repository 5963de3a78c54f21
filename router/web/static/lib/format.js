// Numbers and names as people read them. Pure.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** @param {number} count In [0, inf). */
export function count(count) {
  return count < 10_000 ? String(count) : count.toLocaleString("en");
}

/** @param {number} bytes */
export function bytes(bytes) {
  const power = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const seconds = Math.round((ms % 60_000) / 1000);
  return `${Math.floor(ms / 60_000)} min${seconds === 0 ? "" : ` ${seconds} s`}`;
}

/** @param {number} perSecond */
export function rate(perSecond) {
  return `${perSecond >= 100 ? count(Math.round(perSecond)) : perSecond.toFixed(1)} tokens/s`;
}

/** @param {number} share In [0, 1]. */
export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

const SIZE = /^(?:\d+x)?\d+(?:\.\d+)?[bmk]$/i;
const FORM = /^(?:i?q\d\S*|bf16|f16|f32|fp16|fp8|mxfp4|nvfp4|[248]bit)$/i;

/**
 * A model's name in words: `org/smollm2-135m-instruct` is "Smollm2 135M Instruct".
 *
 * @param {string} name `name` or `name+adapter`.
 */
export function friendlyName(name) {
  const [model, adapter] = name.split("+");
  const words = model
    .slice(model.lastIndexOf("/") + 1)
    .split(/[-_:]+/)
    .filter(Boolean)
    .map((word) => (SIZE.test(word) || FORM.test(word) ? word.toUpperCase() : word[0].toUpperCase() + word.slice(1)));
  return words.join(" ") + (adapter ? ` + ${adapter}` : "");
}
