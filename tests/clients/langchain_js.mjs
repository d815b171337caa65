// LangChain for JavaScript on @langchain/openai.
import { AIMessageChunk, HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAI, OpenAIEmbeddings } from "@langchain/openai";
import * as lib from "./lib.mjs";
import { add, AUTO, ERRORS, HELLO, LATE, MODEL, ODD, ONE_TOOL, PERSON, RETRY, SLOW, TIME, TWO_TOOLS, WEATHER } from "./lib.mjs";

const aim = (headers) => ({ baseURL: lib.BASE, defaultHeaders: headers });
const model = (headers = {}, more = {}) =>
  new ChatOpenAI({ model: MODEL, apiKey: lib.KEY, configuration: aim(headers), maxRetries: 0, timeout: 10000, streamUsage: false, ...more });

const json = (x) => JSON.parse(JSON.stringify(x));
const plain = (m) => ({
  content: m.content, tool_calls: m.tool_calls, tool_call_chunks: m.tool_call_chunks, usage: m.usage_metadata, id: m.id,
  response: m.response_metadata, kwargs: m.additional_kwargs,
});

function facts(m) {
  const u = m.usage_metadata;
  return {
    text: m.content,
    finish: m.response_metadata.finish_reason,
    tools: (m.tool_calls ?? []).map((c) => [c.name, c.args]),
    usage: u && u.total_tokens ? { prompt_tokens: u.input_tokens, completion_tokens: u.output_tokens, total_tokens: u.total_tokens } : null,
    choices: 1,
    logprobs: Boolean(m.response_metadata.logprobs?.content?.length),
    model: m.response_metadata.model_name,
  };
}

async function whole(runnable, messages = HELLO) {
  const m = await runnable.invoke(messages);
  return { facts: facts(m), raw: json(plain(m)) };
}

async function streamed(runnable, messages = HELLO) {
  const chunks = [];
  for await (const c of await runnable.stream(messages)) chunks.push(c);
  const total = chunks.slice(1).reduce((a, b) => a.concat(b), chunks[0]);
  if (!(total instanceof AIMessageChunk)) throw new Error("not a chunk");
  return { facts: { ...facts(total), pieces: chunks.filter((c) => c.content).length }, raw: json(chunks.map(plain)) };
}

add("chat", () => whole(model()));
add("chat_auto", () => whole(model({}, { model: AUTO })));
add("chat_odd_text", () => whole(model(), [new SystemMessage(ODD), new HumanMessage({ content: [{ type: "text", text: ODD }] })]));
add("chat_many_members", () =>
  whole(model({}, { temperature: 0.3, topP: 0.9, maxTokens: 64, stop: ["END"], presencePenalty: 0.1, user: "u-1", modelKwargs: { seed: 7 } })));
add("stream", () => streamed(model()));
add("stream_auto", () => streamed(model({}, { model: AUTO })));
add("stream_usage", () => streamed(model({}, { streamUsage: true })));
add("tool_single", () => whole(model().bindTools([WEATHER]), ONE_TOOL));
add("tool_choice", () => whole(model().bindTools([WEATHER, TIME], { tool_choice: "get_weather" }), ONE_TOOL));
add("tool_parallel", () => whole(model().bindTools([WEATHER, TIME]), TWO_TOOLS));
add("tool_stream", () => streamed(model().bindTools([WEATHER]), ONE_TOOL));
add("tool_parallel_stream", () => streamed(model().bindTools([WEATHER, TIME]), TWO_TOOLS));
add("logprobs", () => whole(model({}, { logprobs: true, topLogprobs: 2 })));

const structured = async (options, text) => {
  const done = await model().withStructuredOutput(PERSON, { name: "Person", includeRaw: true, ...options }).invoke(text);
  return {
    facts: { parsed: ["age", "name"].join() === Object.keys(done.parsed ?? {}).sort().join() },
    raw: json({ message: plain(done.raw), parsed: done.parsed }),
  };
};
add("structured_parse", () => structured({ method: "jsonSchema", strict: true }, HELLO));
add("structured_tool", () => structured({ method: "functionCalling" }, ONE_TOOL));

add("multi_turn", async () => {
  const first = await model().bindTools([WEATHER]).invoke(ONE_TOOL);
  const second = await model().invoke([
    new HumanMessage(ONE_TOOL),
    first,
    ...first.tool_calls.map((c) => new ToolMessage({ content: JSON.stringify({ celsius: 11 }), tool_call_id: c.id })),
    new HumanMessage("Thanks. And now in words?"),
  ]);
  return { facts: { ...facts(second), first_tools: first.tool_calls.length }, raw: json([plain(first), plain(second)]) };
});

add("batch", async () => {
  const answers = await model().batch(Array.from({ length: 6 }, (_, i) => `${HELLO} ${i}`));
  return { facts: { answers: answers.length }, raw: json(answers.map(plain)) };
});

add("choices", async () => {
  const done = await model({}, { n: 2 }).generate([[new HumanMessage(HELLO)]]);
  return { facts: { choices: done.generations[0].length }, raw: json(done.generations[0].map((g) => plain(g.message))) };
});

add("abort_stream", () =>
  lib.afterAbort(async () => {
    let seen = 0;
    for await (const _ of await model(SLOW).stream(HELLO)) if (++seen === 3) break;
    return { seen };
  }));

const abortEarly = (start) =>
  lib.afterAbort(async () => {
    const control = new AbortController();
    setTimeout(() => control.abort(), 250);
    try {
      await start(control.signal);
      return "answered";
    } catch (e) {
      return { raised: e.name };
    }
  });
add("abort_before_first_byte", () => abortEarly((signal) => model(LATE).invoke(HELLO, { signal })));
add("abort_stream_before_first_byte", () =>
  abortEarly(async (signal) => {
    for await (const _ of await model(LATE).stream(HELLO, { signal }));
  }));

async function failed(call) {
  try {
    await call();
  } catch (e) {
    if (e instanceof TypeError) throw e;
    return {
      facts: { status: e.status ?? null, class: e.constructor.name, code: e.code ?? null, type: e.type ?? null, param: e.param ?? null,
               message: e.error?.message ?? null },
      raw: { message: e.message, error: e.error, langchain: e.lc_error_code ?? null },
    };
  }
  return { facts: { status: 200 }, raw: null };
}
for (const [name, headers] of Object.entries(ERRORS)) add(name, () => failed(() => whole(model(headers))));
add("error_stream_429", () => failed(() => streamed(model(ERRORS.error_429))));
add("error_in_stream", () => failed(() => streamed(model({ "x-mock-malformed": "error-event" }))));
// LangChain.js retries a 429 only when it has a retry-after in seconds; it does not know retry-after-ms.
add("retry", () => whole(model({ ...RETRY, "x-mock-retry-after": "0" }, { maxRetries: 2 })));

const embedded = async (more) => {
  const vectors = await new OpenAIEmbeddings({ model: MODEL, apiKey: lib.KEY, configuration: aim({}), maxRetries: 0, ...more })
    .embedDocuments(["first text", "second " + ODD]);
  return { facts: lib.vectorFacts(vectors), raw: vectors };
};
add("embeddings", () => embedded({}));
add("embeddings_float", () => embedded({ encodingFormat: "float" }));

const completer = () => new OpenAI({ model: MODEL, apiKey: lib.KEY, configuration: aim({}), maxRetries: 0, timeout: 10000, maxTokens: 16 });
add("completions", async () => {
  const done = await completer().generate([HELLO]);
  const [g] = done.generations[0];
  const u = done.llmOutput?.tokenUsage;
  return {
    facts: { text: g.text, finish: g.generationInfo.finishReason,
             usage: u ? { prompt_tokens: u.promptTokens, completion_tokens: u.completionTokens, total_tokens: u.totalTokens } : null },
    raw: json(done),
  };
});
add("completions_stream", async () => {
  const pieces = [];
  for await (const p of await completer().stream(HELLO)) pieces.push(p);
  return { facts: { text: pieces.join(""), pieces: pieces.filter(Boolean).length }, raw: pieces };
});

await lib.main();
