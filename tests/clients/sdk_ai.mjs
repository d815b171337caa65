// The AI SDK (`ai`) on @ai-sdk/openai (Responses) and @ai-sdk/anthropic (Messages).
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import { add, BASE, CASES, ERRORS, KEY, left, main, PNG, seen, TOOLS } from "./sdk_lib.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const openai = createOpenAI({ baseURL: BASE + "/v1", apiKey: KEY });
const anthropic = createAnthropic({ baseURL: BASE + "/v1", apiKey: KEY });
const APIS = { responses: (model) => openai.responses(model), messages: (model) => anthropic(model) };
const more = { maxRetries: 0, maxOutputTokens: 2048, providerOptions: { openai: { store: false, include: ["reasoning.encrypted_content"] } } };
const toolsOf = (execute) => Object.fromEntries(TOOLS.map(([name, description, p]) => [name, tool({ description, inputSchema: jsonSchema(p), execute: execute?.(name) })]));
const schema = jsonSchema({ type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"], additionalProperties: false });

const usageOf = (u) => ({ input: u.inputTokens, output: u.outputTokens, cached: u.inputTokenDetails?.cacheReadTokens ?? u.cachedInputTokens ?? 0 });
const factsOf = (r) => ({
  text: r.text, thought: r.reasoning.map((p) => p.text).join(""), refusal: "", calls: r.toolCalls.map((c) => [c.toolName, c.input]), stop: r.finishReason, usage: usageOf(r.usage),
});

async function raised(call) {
  try {
    await call();
  } catch (e) {
    return { facts: { raised: APICallError.isInstance(e) ? "APICallError" : "other", status: e.statusCode ?? null, says: e.message ?? String(e) } };
  }
  return { facts: { raised: null } };
}

async function streamed(model, prompt, options = {}) {
  const stream = streamText({ model, prompt, ...more, onError() {}, ...options });
  const kinds = [];
  for await (const part of stream.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "tool-error") throw new Error("tool error");
    if (kinds.at(-1) !== part.type) kinds.push(part.type);
  }
  const [text, reasoning, toolCalls, finishReason, usage] = await Promise.all([stream.text, stream.reasoning, stream.toolCalls, stream.finishReason, stream.usage]);
  return { facts: { ...factsOf({ text, reasoning, toolCalls, finishReason, usage }) }, raw: kinds };
}

for (const [api, of] of Object.entries(APIS)) {
  for (const name of CASES) {
    if (name === "refusal" && api === "responses") continue;        // this SDK does not show OpenAI's refusals
    add(api, "whole", name, async (model) => ({ facts: factsOf(await generateText({ model: of(model), prompt: "case:" + name, tools: toolsOf(), ...more })) }));
    add(api, "stream", name, (model) => streamed(of(model), "case:" + name, { tools: toolsOf() }));
  }
  add(api, "parse", "structured", async (model) => {
    const r = await generateText({ model: of(model), prompt: "case:json", output: Output.object({ schema }), ...more });
    return { facts: { parsed: r.output, told: await seen("age") } };
  });
  // The SDK runs the tools and asks again by itself, with the answer's own parts, reasoning included.
  add(api, "loop", "own-loop", async (model) => {
    const execute = (name) => async () => "sunny " + name;
    const first = await generateText({ model: of(model), messages: [{ role: "user", content: "case:thought-tool" }], tools: toolsOf(execute), stopWhen: stepCountIs(1), ...more });
    const messages = [{ role: "user", content: "case:thought-tool" }, ...first.response.messages, { role: "user", content: "case:text" }];
    const r = await generateText({ model: of(model), messages, tools: toolsOf(), ...more });
    return { facts: { ...factsOf(r), told: await seen("sunny get_weather"), signed: await seen("c2lnLTk5") } };
  });
  add(api, "image", "text", async (model) => {
    const content = [{ type: "text", text: "What is this? case:text" }, { type: "image", image: PNG, mediaType: "image/png" }];
    const r = await generateText({ model: of(model), messages: [{ role: "user", content }], ...more });
    return { facts: { ...factsOf(r), told: await seen(PNG) } };
  });
  add(api, "abort", "slow", async (model) => {
    const controller = new AbortController();
    const stream = streamText({ model: of(model), prompt: "case:slow", ...more, abortSignal: controller.signal, onError() {} });
    let began = 0;
    for await (const _ of stream.textStream) if (++began === 3) break;
    controller.abort();
    return { facts: { began, left: await left() } };
  });
  for (const name of ERRORS) {
    add(api, "error", name, (model) => raised(() => generateText({ model: of(model), prompt: "case:" + name, ...more })));
    add(api, "error-stream", name, (model) => raised(() => streamed(of(model), "case:" + name)));
  }
  add(api, "broken", "broken", async (model) => ({ facts: { raised: (await raised(() => streamed(of(model), "case:broken"))).facts.raised && "error" } }));
}

await main();
