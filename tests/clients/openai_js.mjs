// The official OpenAI SDK for JavaScript; CLIENT_PACKAGE chooses the major (openai, openai-7).
import * as lib from "./lib.mjs";
import { add, AUTO, ERRORS, HELLO, LATE, MODEL, ODD, ONE_TOOL, PERSON, RETRY, SLOW, TIME, TWO_TOOLS, WEATHER, user } from "./lib.mjs";

const PACKAGE = process.env.CLIENT_PACKAGE ?? "openai";
const { default: OpenAI } = await import(PACKAGE);
const { zodResponseFormat } = await import(PACKAGE + "/helpers/zod");
const { z } = await import("zod");

const client = new OpenAI({ baseURL: lib.BASE, apiKey: lib.KEY, timeout: 10000, maxRetries: 0 });
const base = { model: MODEL, messages: user(HELLO) };
const json = (x) => JSON.parse(JSON.stringify(x));

// One answer: what the SDK hands out, and the response around it.
async function whole(request = {}, headers = {}) {
  const { data, response, request_id } = await client.chat.completions.create({ ...base, ...request }, { headers }).withResponse();
  return {
    facts: lib.answerFacts(data),
    raw: { status: response.status, type: response.headers.get("content-type"), data: json(data), request_id },
  };
}

// All chunks as they were parsed; a null member stays, an absent one is absent.
async function streamed(request = {}, headers = {}) {
  const { data, response } = await client.chat.completions.create({ ...base, stream: true, ...request }, { headers }).withResponse();
  const chunks = [];
  for await (const chunk of data) chunks.push(json(chunk));
  return { facts: lib.streamFacts(chunks), raw: { status: response.status, type: response.headers.get("content-type"), chunks } };
}

const schema = { type: "json_schema", json_schema: { name: "person", strict: true, schema: PERSON } };

add("chat", () => whole());
add("chat_auto", () => whole({ model: AUTO }));
add("chat_odd_text", () => whole({ messages: [{ role: "system", content: ODD }, { role: "user", content: [{ type: "text", text: ODD }] }] }));
add("chat_many_members", () =>
  whole({
    temperature: 0.3, top_p: 0.9, max_completion_tokens: 64, seed: 7, stop: ["\n\n", "END"], user: "u-1",
    presence_penalty: 0.1, logit_bias: { 50256: -100 }, metadata: { purpose: "test" }, vendor_member: { nested: [1, 2.5, null] },
  }));
add("stream", () => streamed());
add("stream_auto", () => streamed({ model: AUTO }));
add("stream_usage", () => streamed({ stream_options: { include_usage: true } }));
add("stream_usage_auto", () => streamed({ model: AUTO, stream_options: { include_usage: true } }));
add("stream_usage_false", () => streamed({ stream_options: { include_usage: false } }));
add("stream_n", () => streamed({ n: 2 }));
add("stream_slow", () => streamed({}, { "x-mock-first-byte-ms": "80", "x-mock-gap-ms": "15", "x-mock-tokens": "12" }));
add("stream_long", () => streamed({}, { "x-mock-tokens": "3000" }));
add("tool_single", () => whole({ messages: user(ONE_TOOL), tools: [WEATHER] }));
add("tool_choice", () =>
  whole({ messages: user(ONE_TOOL), tools: [WEATHER, TIME], parallel_tool_calls: false,
          tool_choice: { type: "function", function: { name: "get_weather" } } }));
add("tool_parallel", () => whole({ messages: user(TWO_TOOLS), tools: [WEATHER, TIME] }));
add("tool_stream", () => streamed({ messages: user(ONE_TOOL), tools: [WEATHER] }));
add("tool_parallel_stream", () => streamed({ messages: user(TWO_TOOLS), tools: [WEATHER, TIME] }));
add("tool_stream_usage", () => streamed({ messages: user(ONE_TOOL), tools: [WEATHER], stream_options: { include_usage: true } }));
add("structured", () => whole({ response_format: schema }));
add("structured_stream", () => streamed({ response_format: schema }));
add("json_object", () => whole({ response_format: { type: "json_object" } }));
add("logprobs_n", () => whole({ n: 2, logprobs: true, top_logprobs: 2 }));
add("logprobs_stream", () => streamed({ logprobs: true, top_logprobs: 2 }));

add("structured_parse", async () => {
  const Person = z.object({ name: z.string(), age: z.number().int() });
  const done = await client.chat.completions.parse({ ...base, response_format: zodResponseFormat(Person, "person") });
  return { facts: { parsed: Person.safeParse(done.choices[0].message.parsed).success }, raw: json(done) };
});

// The SDK's event stream, which assembles tool deltas and complains about odd ones.
add("stream_helper", async () => {
  const stream = client.chat.completions.stream({ ...base, messages: user(TWO_TOOLS), tools: [WEATHER, TIME] });
  const done = await stream.finalChatCompletion();
  const choice = done.choices[0];
  return {
    facts: { tools: choice.message.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments)]), finish: choice.finish_reason },
    raw: json(done),
  };
});

// The SDK's agent loop: one forced tool call, run here, and its result sent back.
add("tool_loop", async () => {
  const called = [];
  const runner = client.chat.completions.runTools(
    { ...base, messages: user(ONE_TOOL), stream: true,
      tools: [{ type: "function", function: { ...WEATHER.function, parse: JSON.parse,
        function: (args) => (called.push(args), JSON.stringify({ celsius: 11 })) } }] },
    { maxChatCompletions: 2 });
  await runner.done();
  return { facts: { called: called.length }, raw: { called, messages: json(runner.messages) } };
});

add("multi_turn", async () => {
  const first = await client.chat.completions.create({ ...base, messages: user(ONE_TOOL), tools: [WEATHER] });
  const message = first.choices[0].message;
  const second = await client.chat.completions.create({
    model: MODEL,
    messages: [
      ...user(ONE_TOOL),
      message,
      ...message.tool_calls.map((c) => ({ role: "tool", tool_call_id: c.id, content: JSON.stringify({ celsius: 11 }) })),
      ...user("Thanks. And now in words?"),
    ],
  });
  return { facts: { ...lib.answerFacts(second), first_tools: message.tool_calls.length }, raw: [json(first), json(second)] };
});

add("concurrent", async () => {
  const texts = await Promise.all(
    Array.from({ length: 16 }, async (_, i) =>
      (await streamed({ messages: user(`${HELLO} ${i}`) }, { "x-mock-tokens": String(5 + i), "x-mock-gap-ms": "3" })).facts.text));
  return { facts: { distinct: new Set(texts).size }, raw: texts };
});

// ---- Aborts

add("abort_stream", () =>
  lib.afterAbort(async () => {
    const stream = await client.chat.completions.create({ ...base, stream: true }, { headers: SLOW });
    let seen = 0;
    for await (const _ of stream) if (++seen === 3) break;
    return { seen };
  }));

add("abort_stream_signal", () =>
  lib.afterAbort(async () => {
    const control = new AbortController();
    const stream = await client.chat.completions.create({ ...base, stream: true }, { headers: SLOW, signal: control.signal });
    setTimeout(() => control.abort(), 250);
    try {
      let seen = 0;
      for await (const _ of stream) seen++;
      return { ended: seen < 400 };
    } catch (e) {
      return { raised: e.constructor.name };
    }
  }));

const abortEarly = (request) =>
  lib.afterAbort(async () => {
    const control = new AbortController();
    setTimeout(() => control.abort(), 200);
    try {
      await client.chat.completions.create({ ...base, ...request }, { headers: LATE, signal: control.signal });
      return "answered";
    } catch (e) {
      return e.constructor.name;
    }
  });
add("abort_before_first_byte", () => abortEarly({}));
add("abort_stream_before_first_byte", () => abortEarly({ stream: true }));

// ---- Errors

async function failed(call) {
  try {
    await call();
  } catch (e) {
    if (!(e instanceof OpenAI.APIError)) throw e;
    return {
      facts: { status: e.status ?? null, class: e.constructor.name, code: e.code ?? null, type: e.type ?? null, param: e.param ?? null,
               message: e.error?.message ?? null },
      raw: { message: e.message, error: e.error, retry: [e.headers?.get("retry-after"), e.headers?.get("retry-after-ms")] },
    };
  }
  return { facts: { status: 200 }, raw: null };
}
for (const [name, headers] of Object.entries(ERRORS)) add(name, () => failed(() => whole({}, headers)));
add("error_stream_429", () => failed(() => streamed({}, ERRORS.error_429)));
add("error_stream_500", () => failed(() => streamed({}, ERRORS.error_500)));
add("error_in_stream", () => failed(() => streamed({}, { "x-mock-malformed": "error-event" })));
add("unknown_model", () => failed(() => whole({ model: "no-such-model" })));
add("bad_request", () => failed(() => whole({ messages: "not a list" })));

add("retry", async () => {
  const done = await client.chat.completions.create(base, { headers: RETRY, maxRetries: 2 });
  return { facts: lib.answerFacts(done), raw: json(done) };
});

// ---- The other endpoints

async function embedded(request = {}) {
  const done = await client.embeddings.create({ model: MODEL, input: ["first text", "second " + ODD], ...request });
  const vectors = done.data.map(({ embedding: e }) => {
    if (typeof e !== "string") return e;
    const bytes = Uint8Array.from(Buffer.from(e, "base64"));
    return Array.from(new Float32Array(bytes.buffer));
  });
  return { facts: lib.vectorFacts(vectors), raw: json(done) };
}
add("embeddings", () => embedded());
add("embeddings_float", () => embedded({ encoding_format: "float" }));
add("embeddings_base64", () => embedded({ encoding_format: "base64" }));

add("completions", async () => {
  const done = await client.completions.create({ model: MODEL, prompt: HELLO, max_tokens: 16 });
  return { facts: lib.answerFacts(done), raw: json(done) };
});
add("completions_stream", async () => {
  const chunks = [];
  for await (const c of await client.completions.create({ model: MODEL, prompt: HELLO, stream: true })) chunks.push(json(c));
  return { facts: lib.streamFacts(chunks), raw: chunks };
});

add("models", async () => {
  const listed = [];
  for await (const m of client.models.list()) listed.push(m);
  return {
    facts: { ids: listed.map((m) => m.id), objects: [...new Set(listed.map((m) => m.object))],
             shape: listed.every((m) => ["id", "object", "created", "owned_by"].every((k) => k in m)) },
    raw: null,
  };
});

await lib.main();
