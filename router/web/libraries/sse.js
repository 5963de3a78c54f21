// Server-sent events out of chunks of text.
export { createParser } from "eventsource-parser";
