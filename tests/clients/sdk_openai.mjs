// OpenAI's SDK for JavaScript: Chat Completions and Responses.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { add, BASE, CASES, collect, ERRORS, KEY, left, main, parsed, plain, PNG, seen, TOOLS } from "./sdk_lib.mjs";

const client = new OpenAI({ baseURL: BASE + "/v1", apiKey: KEY, timeout: 10000, maxRetries: 0 });
const chatTools = TOOLS.map(([name, description, parameters]) => ({ type: "function", function: { name, description, parameters } }));
const flatTools = TOOLS.map(([name, description, parameters]) => ({ type: "function", name, description, parameters, strict: false }));
const user = (content) => [{ role: "user", content }];
const Person = z.object({ name: z.string(), age: z.number().int() });

async function raised(call) {
  try {
    await call();
  } catch (e) {
    if (!(e instanceof OpenAI.APIError)) throw e;
    return { facts: { raised: e.constructor.name, status: e.status ?? null, type: e.type ?? null, says: e.message } };
  }
  return { facts: { raised: null } };
}

// ---- Chat Completions

const chatUsage = (u) =>
  u && { input: u.prompt_tokens, output: u.completion_tokens, cached: u.prompt_tokens_details?.cached_tokens ?? 0, thought: u.completion_tokens_details?.reasoning_tokens ?? 0 };

function chatFacts(answer) {
  const [choice] = answer.choices, m = choice.message;
  return {
    text: m.content ?? "", thought: m.reasoning_content ?? "", refusal: m.refusal ?? "",
    calls: (m.tool_calls ?? []).map((c) => [c.function.name, parsed(c.function.arguments)]), stop: choice.finish_reason, usage: chatUsage(answer.usage),
  };
}

const chat = (model, messages, more = {}) => client.chat.completions.create({ model, messages, ...more });

const chatWhole = (name) => async (model) => {
  const answer = await chat(model, user("case:" + name), { tools: chatTools });
  return { facts: chatFacts(answer), raw: plain(answer) };
};

// The SDK's helper gathers the stream; what it gathered and every chunk are looked at.
const chatStream = (name) => async (model) => {
  const chunks = [];
  const stream = client.chat.completions.stream({ model, messages: user("case:" + name), tools: chatTools, stream_options: { include_usage: true } });
  stream.on("chunk", (c) => chunks.push(plain(c)));
  const answer = await stream.finalChatCompletion();
  const thought = chunks.map((c) => c.choices[0]?.delta?.reasoning_content ?? "").join("");
  return { facts: { ...chatFacts(answer), thought }, raw: chunks };
};

async function chatParse(model) {
  const answer = await client.chat.completions.parse({ model, messages: user("case:json"), response_format: zodResponseFormat(Person, "person") });
  return { facts: { parsed: answer.choices[0].message.parsed, told: await seen("age") } };
}

async function chatLoop(model) {
  let messages = user("case:parallel");
  for (const [next, word] of [["thought-tool", "sunny in"], ["text", "rain in"]]) {
    const m = (await chat(model, messages, { tools: chatTools })).choices[0].message;
    const results = m.tool_calls.map((c, i) => ({ role: "tool", tool_call_id: c.id, content: `${word} ${i}` }));
    messages = [...messages, m, ...results, ...user("case:" + next)];
  }
  const answer = await chat(model, messages, { tools: chatTools });
  return { facts: { ...chatFacts(answer), told: await seen("sunny in 0", "sunny in 1", "rain in 0") } };
}

async function chatImage(model) {
  const answer = await chat(model, user([{ type: "text", text: "What is this? case:text" }, { type: "image_url", image_url: { url: "data:image/png;base64," + PNG } }]));
  return { facts: { ...chatFacts(answer), told: await seen(PNG) } };
}

async function chatAbort(model) {
  const stream = await chat(model, user("case:slow"), { stream: true });
  let began = 0;
  for await (const _ of stream) if (++began === 3) break;
  stream.controller.abort();
  return { facts: { began, left: await left() } };
}

const chatError = (name, stream) => (model) => raised(async () => {
  const answer = await chat(model, user("case:" + name), { stream });
  if (stream) await collect(answer);
});

for (const name of CASES) {
  add("chat", "whole", name, chatWhole(name));
  if (!["length", "filter"].includes(name)) add("chat", "stream", name, chatStream(name));    // the helper throws at these
}
add("chat", "parse", "structured", chatParse);
add("chat", "loop", "text", chatLoop);
add("chat", "image", "text", chatImage);
add("chat", "abort", "slow", chatAbort);
for (const name of ERRORS) {
  add("chat", "error", name, chatError(name, false));
  add("chat", "error-stream", name, chatError(name, true));
}
add("chat", "broken", "broken", chatError("broken", true));
add("chat", "models", "own", async (model) => ({ facts: { listed: (await collect(client.models.list())).some((m) => m.id === model) } }), { own: true });

// ---- Responses

function responseFacts(r) {
  const of = (type) => r.output.filter((i) => i.type === type);
  const join = (parts) => (parts ?? []).map((p) => p.text).join("");
  return {
    text: r.output_text, thought: of("reasoning").map((i) => join(i.summary) || join(i.content)).join(""),
    refusal: of("message").flatMap((i) => i.content).filter((c) => c.type === "refusal").map((c) => c.refusal).join(""),
    calls: of("function_call").map((c) => [c.name, parsed(c.arguments)]), stop: r.incomplete_details?.reason ?? r.status,
    usage: {
      input: r.usage.input_tokens, output: r.usage.output_tokens, cached: r.usage.input_tokens_details.cached_tokens,
      thought: r.usage.output_tokens_details.reasoning_tokens,
    },
  };
}

const respond = (model, input, more = {}) => client.responses.create({ model, input, store: false, ...more });

const responsesWhole = (name) => async (model) => {
  const r = await respond(model, "case:" + name, { tools: flatTools });
  return { facts: responseFacts(r), raw: plain(r) };
};

const responsesStream = (name) => async (model) => {
  const stream = client.responses.stream({ model, input: "case:" + name, tools: flatTools, store: false });
  const events = await collect(stream);
  return { facts: responseFacts(await stream.finalResponse()), raw: plain(events) };
};

async function responsesParse(model) {
  const r = await client.responses.parse({ model, input: "case:json", text: { format: zodTextFormat(Person, "person") }, store: false });
  return { facts: { parsed: r.output_parsed, told: await seen("age") } };
}

async function responsesLoop(model) {
  let input = user("case:parallel");
  const more = { tools: flatTools, include: ["reasoning.encrypted_content"] };
  for (const [next, word] of [["thought-tool", "sunny in"], ["text", "rain in"]]) {
    const r = await respond(model, input, more);
    const results = r.output.filter((i) => i.type === "function_call").map((c, i) => ({ type: "function_call_output", call_id: c.call_id, output: `${word} ${i}` }));
    input = [...input, ...r.output, ...results, ...user("case:" + next)];
  }
  const r = await respond(model, input, more);
  return { facts: { ...responseFacts(r), told: await seen("sunny in 0", "sunny in 1", "rain in 0") } };
}

async function responsesImage(model) {
  const r = await respond(model, user([{ type: "input_text", text: "What is this? case:text" }, { type: "input_image", image_url: "data:image/png;base64," + PNG, detail: "auto" }]));
  return { facts: { ...responseFacts(r), told: await seen(PNG) } };
}

async function responsesAbort(model) {
  const stream = await respond(model, "case:slow", { stream: true });
  let began = 0;
  for await (const _ of stream) if (++began === 6) break;
  stream.controller.abort();
  return { facts: { began, left: await left() } };
}

async function responsesChain(model) {
  const a = await respond(model, "My name is Ada. case:thought", { store: true });
  const stream = client.responses.stream({ model, input: "And now? case:text", previous_response_id: a.id, store: true });
  const b = await stream.finalResponse();
  const facts = { ...responseFacts(b), told: await seen("My name is Ada", "42.", "And now?", "case:text"), previous: b.previous_response_id === a.id };
  const [kept] = [await client.responses.retrieve(a.id), await client.responses.retrieve(b.id)];
  facts.kept = [kept.output_text === a.output_text, JSON.stringify(kept.usage) === JSON.stringify(a.usage)];
  facts.items = (await collect(client.responses.inputItems.list(b.id))).map((i) => i.type);
  await client.responses.delete(a.id);
  facts.gone = (await raised(() => client.responses.retrieve(a.id))).facts.raised;
  facts.unknown = [400, 404].includes((await raised(() => respond(model, "case:text", { previous_response_id: "resp_nobody" }))).facts.status);
  return { facts };
}

const responsesError = (name, stream) => (model) => raised(async () => {
  const answer = await respond(model, "case:" + name, { stream });
  if (stream) await collect(answer);
});

async function responsesBroken(model) {
  const events = await collect(await respond(model, "case:broken", { stream: true }));
  const last = events.at(-1);
  return { facts: { raised: ["error", "response.failed"].includes(last.type) ? "event" : null, says: last.message ?? last.response?.error?.message } };
}

for (const name of CASES) {
  add("responses", "whole", name, responsesWhole(name));
  add("responses", "stream", name, responsesStream(name));
}
add("responses", "parse", "structured", responsesParse);
add("responses", "loop", "text", responsesLoop);
add("responses", "image", "text", responsesImage);
add("responses", "abort", "slow", responsesAbort);
for (const name of ERRORS) {
  add("responses", "error", name, responsesError(name, false));
  add("responses", "error-stream", name, responsesError(name, true));
}
add("responses", "broken", "broken", responsesBroken);
add("responses", "chain", "own", responsesChain, { own: true });

await main();
