// The npm clients of OpenAI, Anthropic and Ollama, and the AI SDK, unmodified: node winding_client.mjs URL MODEL BODIES
// BODIES is a file: per API a list of requests, each with all of the history before it.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { streamText } from "ai";
import { readFile } from "node:fs/promises";
import { Ollama } from "ollama";
import OpenAI from "openai";

const [url, model, file] = process.argv.slice(2);
const bodies = JSON.parse(await readFile(file, "utf8"));
const headers = { "X-Mlxr-Context": "wind" };
const results = { chat: [], responses: [], ollama: [], anthropic: [], sdk: [] };

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, defaultHeaders: headers });
for (const body of bodies.chat) {
  const asked = { ...body, model, max_tokens: 16 };
  results.chat.push((await openai.chat.completions.create(asked)).choices[0].message.content);
  results.chat.push(await openai.chat.completions.stream(asked).finalContent());
}
for (const body of bodies.responses) {
  const asked = { ...body, model, max_output_tokens: 16 };
  results.responses.push((await openai.responses.create(asked)).output_text);
  results.responses.push((await openai.responses.stream(asked).finalResponse()).output_text);
}

const anthropic = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0, defaultHeaders: headers });
for (const body of bodies.anthropic) {
  const asked = { ...body, model, max_tokens: 16 };
  results.anthropic.push((await anthropic.messages.create(asked)).content[0].text);
  results.anthropic.push(await anthropic.messages.stream(asked).finalText());
}

const ollama = new Ollama({ host: url, headers });
for (const body of bodies.ollama) {
  const asked = { ...body, model, options: { num_predict: 16 } };
  results.ollama.push((await ollama.chat(asked)).message.content);
  let streamed = "";
  for await (const part of await ollama.chat({ ...asked, stream: true })) streamed += part.message.content;
  results.ollama.push(streamed);
}

const provider = createOpenAICompatible({ name: "mlxr", baseURL: `${url}/v1`, headers, includeUsage: true });
const talk = bodies.chat.at(-1).messages.filter((each) => each.role !== "tool" && each.content && !each.tool_calls);
let streamed = "";
const asked = { model: provider(model), messages: talk.flatMap((each) => Array(8).fill(each)), maxOutputTokens: 16, maxRetries: 0 };
for await (const part of streamText(asked).textStream) streamed += part;
results.sdk.push(streamed);
console.log(JSON.stringify(results));
