// Server-sent events of a fetched answer, one after the other. Not EventSource: it sends no headers and no body.
import { createParser } from "../vendor/sse.js";

/**
 * Read events until the stream ends.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @param {(event: {id: string | undefined, data: any}) => void} onEvent Is given the JSON of an event.
 */
export async function readEvents(body, onEvent) {
  const parser = createParser({
    onEvent: ({ id, data }) => {
      if (data !== "[DONE]") onEvent({ id, data: JSON.parse(data) });
    },
  });
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    parser.feed(decoder.decode(value, { stream: true }));
  }
}
