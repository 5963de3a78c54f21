// The unmodified OpenAI client of npm against the Responses API: node responses_client.mjs URL MODEL
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const common = { model, temperature: 0, max_output_tokens: 8 };

const whole = await client.responses.create({ ...common, input: "Say hello." });
let streamed = "";
let status = null;
for await (const event of await client.responses.create({ ...common, input: "Say hello.", stream: true })) {
  if (event.type === "response.output_text.delta") streamed += event.delta;
  if (event.type === "response.incomplete") status = event.response.status;
}
const stream = client.responses.stream({ ...common, input: "Say hello." });
const helped = await stream.finalResponse();
if (helped.output_text !== streamed) throw new Error(`the helper read ${helped.output_text}`);

const next = await client.responses.create({ ...common, input: "And again.", previous_response_id: whole.id });
const inputTexts = [];
for await (const item of client.responses.inputItems.list(next.id, { order: "asc", limit: 1 })) {
  inputTexts.push(item.content[0].text);
}
await client.responses.delete(next.id);
let deleted = null;
try {
  await client.responses.retrieve(next.id);
} catch (error) {
  deleted = error.status;
}
const cached = next.usage.input_tokens_details.cached_tokens;
console.log(JSON.stringify({ whole: whole.output_text, streamed, status, cached, inputTexts, deleted }));
