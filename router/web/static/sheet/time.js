// Moments as people read them, in the browser's time zone. Pure.

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "numeric" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

/** @param {number} at Seconds since 1970. */
export const clock = (at) => TIME.format(at * 1000);

/** @param {number} at Seconds since 1970. */
export const day = (at) => DAY.format(at * 1000);

/** @param {number} at Seconds since 1970. */
export const moment = (at) => MINUTE.format(at * 1000);
