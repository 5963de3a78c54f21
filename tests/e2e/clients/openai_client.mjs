// OpenAI's npm client, and the AI SDK on its provider for compatible servers, both unmodified:
// node openai_client.mjs URL MODEL
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const prompt = "Name a colour.";
const messages = [{ role: "user", content: prompt }];
const plain = { model, messages, temperature: 0, max_tokens: 8 };

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const whole = await client.chat.completions.create(plain);
let streamed = "";
let usage = null;
for await (const part of await client.chat.completions.create({
  ...plain,
  stream: true,
  stream_options: { include_usage: true },
})) {
  streamed += part.choices[0]?.delta?.content ?? "";
  usage = part.usage ?? usage;
}
const helper = client.chat.completions.stream(plain);
const final = await helper.finalContent();
const listed = [];
for await (const each of client.models.list()) listed.push(each.id);
const vectors = await client.embeddings.create({ model, input: ["a", "b"] });
let refused = null;
try {
  await client.chat.completions.create({ ...plain, verbosity: "low" });
} catch (error) {
  refused = [error.status, error.param];
}

const provider = createOpenAICompatible({
  name: "mlxr",
  baseURL: `${url}/v1`,
  supportsStructuredOutputs: true,
  includeUsage: true,
});
const sdk = { model: provider(model), prompt, temperature: 0, maxOutputTokens: 8, maxRetries: 0 };
const sdkWhole = await generateText(sdk);
let sdkStreamed = "";
for await (const part of streamText(sdk).textStream) sdkStreamed += part;
const schema = jsonSchema({
  type: "object",
  properties: { a: { enum: [1, 2] } },
  required: ["a"],
  additionalProperties: false,
});
const formed = await generateObject({ ...sdk, temperature: 1, seed: 1, maxOutputTokens: 200, schema });
const weather = tool({
  description: "Tell the weather.",
  inputSchema: jsonSchema({
    type: "object",
    properties: { town: { type: "string", maxLength: 6 } },
    required: ["town"],
    additionalProperties: false,
  }),
});
const toolCall = {
  ...sdk,
  temperature: 1,
  seed: 1,
  maxOutputTokens: 400,
  tools: { weather },
  toolChoice: { type: "tool", toolName: "weather" },
};
const called = await generateText(toolCall);
const calledInStream = await streamText(toolCall).toolCalls;
const embedded = await embedMany({ model: provider.textEmbeddingModel(model), values: ["a", "b"], maxRetries: 0 });

const shape = (call) => [call.toolName, Object.keys(call.input)];
console.log(
  JSON.stringify({
    whole: whole.choices[0].message.content,
    streamed,
    final,
    usage: usage?.completion_tokens,
    listed,
    numVectors: vectors.data.length,
    refused,
    sdkWhole: sdkWhole.text,
    sdkUsage: sdkWhole.usage.outputTokens,
    sdkStreamed,
    formed: formed.object,
    calls: [...called.toolCalls, ...calledInStream].map(shape),
    numEmbedded: embedded.embeddings.length,
  }),
);
