// The AI SDK (`ai`) on @ai-sdk/openai-compatible.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embed, embedMany, generateText, jsonSchema, Output, RetryError, stepCountIs, streamText, tool } from "ai";
import * as lib from "./lib.mjs";
import { add, AUTO, ERRORS, HELLO, LATE, MODEL, ODD, ONE_TOOL, PERSON, RETRY, SLOW, TIME, TWO_TOOLS, WEATHER } from "./lib.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const aimed = (includeUsage) =>
  createOpenAICompatible({ name: "mock", baseURL: lib.BASE, apiKey: lib.KEY, includeUsage, supportsStructuredOutputs: true });
const plainly = aimed(false);
const counting = aimed(true);
const base = { model: plainly(MODEL), maxRetries: 0, abortSignal: AbortSignal.timeout(110000) };
const json = (x) => JSON.parse(JSON.stringify(x));

// A tool without execute: its call is handed to us.
const asTool = ({ function: f }, execute) => tool({ description: f.description, inputSchema: jsonSchema(f.parameters), execute });
const weather = asTool(WEATHER), time = asTool(TIME);

const usage = (u) =>
  u?.totalTokens ? { prompt_tokens: u.inputTokens, completion_tokens: u.outputTokens, total_tokens: u.totalTokens } : null;
const calls = (list) => list.map((c) => [c.toolName, c.input]);

async function whole(request = {}, headers = {}) {
  const done = await generateText({ ...base, prompt: HELLO, ...request, headers });
  return {
    facts: {
      text: done.text, finish: done.finishReason, tools: calls(done.toolCalls), usage: usage(done.usage), choices: 1, logprobs: false,
      model: done.response.modelId,
    },
    raw: json({
      content: done.content, finish: done.finishReason, raw_finish: done.rawFinishReason, usage: done.usage, warnings: done.warnings,
      provider: done.providerMetadata, id: done.response.id, body: done.response.body, type: done.response.headers["content-type"],
    }),
  };
}

async function streamed(request = {}, headers = {}) {
  const stream = streamText({ ...base, prompt: HELLO, includeRawChunks: true, onError() {}, ...request, headers });
  const parts = [], chunks = [];
  for await (const part of stream.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "raw") {
      chunks.push(part.rawValue);
      continue;
    }
    if (part.type === "start-step") continue;           // our own request
    const { request: _, ...kept } = part;
    if (kept.response) kept.response = { id: kept.response.id, model: kept.response.modelId, type: kept.response.headers?.["content-type"] };
    parts.push(kept);
  }
  const wire = lib.streamFacts(chunks);
  return {
    facts: {
      ...wire, text: (await stream.text) || null, finish: await stream.finishReason, tools: calls(await stream.toolCalls),
      usage: usage(await stream.usage),
    },
    raw: json({ parts, chunks }),
  };
}

const schema = jsonSchema(PERSON);

add("chat", () => whole());
add("chat_auto", () => whole({ model: plainly(AUTO) }));
add("chat_odd_text", () => whole({ system: ODD, prompt: undefined, messages: [{ role: "user", content: [{ type: "text", text: ODD }] }] }));
add("chat_many_members", () =>
  whole({ temperature: 0.3, topP: 0.9, maxOutputTokens: 64, seed: 7, stopSequences: ["END"], presencePenalty: 0.1,
          providerOptions: { mock: { user: "u-1", vendorMember: { nested: [1, null] } } } }));
add("stream", () => streamed());
add("stream_auto", () => streamed({ model: plainly(AUTO) }));
add("stream_usage", () => streamed({ model: counting(MODEL) }));
add("stream_usage_auto", () => streamed({ model: counting(AUTO) }));
add("stream_slow", () => streamed({}, { "x-mock-first-byte-ms": "80", "x-mock-gap-ms": "15", "x-mock-tokens": "12" }));
add("tool_single", () => whole({ prompt: ONE_TOOL, tools: { get_weather: weather } }));
add("tool_choice", () =>
  whole({ prompt: ONE_TOOL, tools: { get_weather: weather, get_time: time }, toolChoice: { type: "tool", toolName: "get_weather" } }));
add("tool_parallel", () => whole({ prompt: TWO_TOOLS, tools: { get_weather: weather, get_time: time } }));
add("tool_stream", () => streamed({ prompt: ONE_TOOL, tools: { get_weather: weather } }));
add("tool_parallel_stream", () => streamed({ prompt: TWO_TOOLS, tools: { get_weather: weather, get_time: time } }));

const parsed = (object) => ["age", "name"].join() === Object.keys(object ?? {}).sort().join();
add("structured_parse", async () => {
  const done = await generateText({ ...base, prompt: HELLO, output: Output.object({ schema }) });
  return { facts: { parsed: parsed(done.output) }, raw: json({ object: done.output, body: done.response.body }) };
});
add("structured_parse_stream", async () => {
  const stream = streamText({ ...base, prompt: HELLO, output: Output.object({ schema }) });
  const partial = [];
  for await (const p of stream.partialOutputStream) partial.push(json(p));
  return { facts: { parsed: parsed(await stream.output) }, raw: { partial, object: await stream.output } };
});

// The SDK's agent loop: the tool runs here, its result goes back, at most two steps.
const loop = async (run) => {
  const called = [];
  const tools = { get_weather: asTool(WEATHER, async (args) => (called.push(args), { celsius: 11 })) };
  const steps = await run({ ...base, prompt: ONE_TOOL, tools, stopWhen: stepCountIs(2) });
  return {
    facts: { called: called.length },
    raw: json(steps.map((s) => ({ content: s.content, finish: s.finishReason, usage: s.usage, id: s.response.id }))),
  };
};
add("tool_loop", () => loop(async (request) => (await generateText(request)).steps));
add("tool_loop_stream", () =>
  loop(async (request) => {
    const stream = streamText(request);
    await stream.consumeStream();
    return stream.steps;
  }));

add("multi_turn", async () => {
  const first = await generateText({ ...base, prompt: ONE_TOOL, tools: { get_weather: weather } });
  const second = await generateText({
    ...base,
    messages: [
      { role: "user", content: ONE_TOOL },
      ...first.response.messages,
      { role: "tool", content: first.toolCalls.map((c) => ({ type: "tool-result", toolCallId: c.toolCallId, toolName: c.toolName,
                                                            output: { type: "json", value: { celsius: 11 } } })) },
      { role: "user", content: "Thanks. And now in words?" },
    ],
  });
  return {
    facts: { first_tools: first.toolCalls.length, text: second.text, finish: second.finishReason, tools: calls(second.toolCalls),
             usage: usage(second.usage), choices: 1 },
    raw: json([first.response.body, second.response.body]),
  };
});

add("abort_stream", () =>
  lib.afterAbort(async () => {
    const control = new AbortController();
    const stream = streamText({ ...base, prompt: HELLO, headers: SLOW, abortSignal: control.signal });
    let seen = 0;
    for await (const part of stream.fullStream) {
      if (part.type === "text-delta" && ++seen === 3) control.abort();
      if (part.type === "abort") return { seen, last: part.type };
    }
    return { seen };
  }));

add("abort_before_first_byte", () =>
  lib.afterAbort(async () => {
    try {
      await generateText({ ...base, prompt: HELLO, headers: LATE, abortSignal: AbortSignal.timeout(250) });
      return "answered";
    } catch (e) {
      return { raised: e.name };
    }
  }));
add("abort_stream_before_first_byte", () =>
  lib.afterAbort(async () => {
    const stream = streamText({ ...base, prompt: HELLO, headers: LATE, abortSignal: AbortSignal.timeout(250), onError() {} });
    const types = [];
    for await (const part of stream.fullStream) types.push(part.type);
    return types;
  }));

async function failed(call) {
  try {
    await call();
  } catch (e) {
    if (RetryError.isInstance(e)) e = e.lastError;
    if (!APICallError.isInstance(e)) {
      // An error event inside a stream comes out as the bare error object or its message.
      const inner = typeof e === "object" ? (e.error ?? e) : { message: e };
      return { facts: { status: null, class: e?.constructor?.name ?? typeof e, message: inner.message ?? null, type: inner.type ?? null,
                        code: inner.code ?? null, param: inner.param ?? null }, raw: json(e) };
    }
    const body = e.data?.error ?? {};
    return {
      facts: { status: e.statusCode ?? null, class: e.name, code: body.code ?? null, type: body.type ?? null, param: body.param ?? null,
               message: body.message ?? null },
      raw: { message: e.message, body: e.responseBody, retryable: e.isRetryable,
             retry: [e.responseHeaders?.["retry-after"], e.responseHeaders?.["retry-after-ms"]] },
    };
  }
  return { facts: { status: 200 }, raw: null };
}
for (const [name, headers] of Object.entries(ERRORS)) add(name, () => failed(() => whole({}, headers)));
add("error_stream_429", () => failed(() => streamed({}, ERRORS.error_429)));
add("error_stream_500", () => failed(() => streamed({}, ERRORS.error_500)));
add("error_in_stream", () => failed(() => streamed({}, { "x-mock-malformed": "error-event" })));
add("unknown_model", () => failed(() => whole({ model: plainly("no-such-model") })));
add("retry", () => whole({ maxRetries: 2 }, RETRY));

add("embeddings_float", async () => {
  const done = await embedMany({ model: plainly.embeddingModel(MODEL), values: ["first text", "second " + ODD], maxRetries: 0 });
  return { facts: lib.vectorFacts(done.embeddings), raw: json({ vectors: done.embeddings, usage: done.usage, bodies: done.responses?.map((r) => r.body) }) };
});
add("embeddings_one", async () => {
  const done = await embed({ model: plainly.embeddingModel(MODEL), value: "just one", maxRetries: 0 });
  return { facts: lib.vectorFacts([done.embedding]), raw: json({ vector: done.embedding, usage: done.usage }) };
});

add("completions", () => whole({ model: plainly.completionModel(MODEL), maxOutputTokens: 16 }));
add("completions_stream", () => streamed({ model: plainly.completionModel(MODEL), maxOutputTokens: 16 }));

await lib.main();
