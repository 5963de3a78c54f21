// The unmodified Anthropic client of npm: node anthropic_client.mjs URL MODEL
import Anthropic from "@anthropic-ai/sdk";

const [baseURL, model] = process.argv.slice(2);
const client = new Anthropic({ baseURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Say hello to the fox." }];
const common = { model, max_tokens: 16, messages, temperature: 0 };
const weather = {
  name: "weather",
  description: "Tell the weather of a town.",
  input_schema: {
    type: "object",
    properties: { town: { type: "string", maxLength: 6 } },
    required: ["town"],
    additionalProperties: false,
  },
};
const calling = {
  ...common,
  max_tokens: 400,
  tools: [weather],
  tool_choice: { type: "any", disable_parallel_tool_use: true },
};

const whole = await client.messages.create(common);
const stream = client.messages.stream(common);
let streamed = "";
stream.on("text", (text) => (streamed += text));
const final = await stream.finalMessage();
const calls = [await client.messages.create(calling), await client.messages.stream(calling).finalMessage()];
const { input_tokens: counted } = await client.messages.countTokens({ model, messages });
const models = [];
for await (const each of client.models.list({ limit: 1 })) models.push(each.id);
let failure = null;
try {
  await client.messages.create({ ...common, model: "nobody" });
} catch (error) {
  failure = [error.constructor.name, error.status, error.error.error.type];
}
console.log(
  JSON.stringify({
    whole: whole.content[0].text,
    streamed,
    final: final.content[0].text,
    stops: [whole, final, ...calls].map((message) => message.stop_reason),
    calls: calls.map((message) => [message.content[0].name, message.content[0].input]),
    prompt: whole.usage.input_tokens + whole.usage.cache_read_input_tokens,
    counted,
    models,
    failure,
  }),
);
