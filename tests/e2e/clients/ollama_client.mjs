// Ollama's npm client, and the AI SDK on its provider, both unmodified: node ollama_client.mjs URL MODEL
import { generateObject, generateText, jsonSchema, streamText, tool, embedMany } from "ai";
import { Ollama } from "ollama";
import { createOllama } from "ollama-ai-provider-v2";

const [host, model] = process.argv.slice(2);
const prompt = "Name a colour.";
const messages = [{ role: "user", content: prompt }];
const options = { temperature: 0, num_predict: 8 };

const client = new Ollama({ host });
const chat = await client.chat({ model, messages, options });
let streamed = "";
for await (const part of await client.chat({ model, messages, options, stream: true })) streamed += part.message.content;
const text = await client.generate({ model, prompt, options });
const shown = await client.show({ model });
const vectors = await client.embed({ model, input: ["a", "b"] });
const listed = (await client.list()).models.map((each) => each.model);
const running = (await client.ps()).models.map((each) => each.model);

const provider = createOllama({ baseURL: `${host}/api` });
const sdk = { model: provider(model), prompt, temperature: 0, maxOutputTokens: 8, maxRetries: 0 };
const whole = await generateText(sdk);
let sdkStreamed = "";
for await (const part of streamText(sdk).textStream) sdkStreamed += part;
const schema = jsonSchema({
  type: "object",
  properties: { a: { enum: [1, 2] } },
  required: ["a"],
  additionalProperties: false,
});
const formed = await generateObject({ ...sdk, temperature: 1, maxOutputTokens: 200, schema });
const weather = tool({
  description: "Tell the weather.",
  inputSchema: jsonSchema({
    type: "object",
    properties: { town: { type: "string", maxLength: 6 } },
    required: ["town"],
    additionalProperties: false,
  }),
});
const called = await generateText({
  ...sdk,
  temperature: 1,
  maxOutputTokens: 400,
  tools: { weather },
  toolChoice: { type: "tool", toolName: "weather" },
});
const embedded = await embedMany({ model: provider.textEmbeddingModel(model), values: ["a", "b"], maxRetries: 0 });

let refused = null;
try {
  await client.chat({ model: "nope", messages });
} catch (error) {
  refused = [error.status_code, error.error];
}
console.log(
  JSON.stringify({
    chat: chat.message.content,
    streamed,
    text: text.response,
    hasTemplate: shown.template.length > 0,
    numVectors: vectors.embeddings.length,
    listed,
    running,
    whole: whole.text,
    usage: whole.usage.outputTokens,
    sdkStreamed,
    formed: formed.object,
    calls: called.toolCalls.map((call) => [call.toolName, Object.keys(call.input)]),
    numEmbedded: embedded.embeddings.length,
    refused,
  }),
);
