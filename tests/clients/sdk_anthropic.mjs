// Anthropic's SDK for JavaScript: Messages.
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";
import { add, BASE, CASES, collect, ERRORS, KEY, left, main, plain, PNG, seen, TOOLS } from "./sdk_lib.mjs";

const client = new Anthropic({ baseURL: BASE, apiKey: KEY, timeout: 10000, maxRetries: 0 });
const tools = TOOLS.map(([name, description, input_schema]) => ({ name, description, input_schema }));
const base = { max_tokens: 2048, system: "Be brief." };
const user = (content) => [{ role: "user", content }];
const Person = z.object({ name: z.string(), age: z.number().int() });

async function raised(call) {
  try {
    await call();
  } catch (e) {
    if (!(e instanceof Anthropic.APIError)) throw e;
    const error = e.error?.error;
    return { facts: { raised: e.constructor.name, status: e.status ?? null, type: error?.type ?? null, says: error?.message ?? e.message } };
  }
  return { facts: { raised: null } };
}

function factsOf(m) {
  const of = (type) => m.content.filter((b) => b.type === type);
  const u = m.usage, read = u.cache_read_input_tokens ?? 0, written = u.cache_creation_input_tokens ?? 0;
  return {
    text: of("text").map((b) => b.text).join(""), thought: of("thinking").map((b) => b.thinking).join(""),
    signature: of("thinking").map((b) => b.signature ?? "").join("") + of("redacted_thinking").map((b) => b.data).join(""), refusal: "",
    calls: of("tool_use").map((b) => [b.name, b.input]), stop: m.stop_reason,
    usage: { input: u.input_tokens + read + written, output: u.output_tokens, cached: read, written },
  };
}

const ask = (model, messages, more = {}) => client.messages.create({ model, messages, ...base, ...more });

const whole = (name) => async (model) => {
  const m = await ask(model, user("case:" + name), { tools });
  return { facts: factsOf(m), raw: plain(m) };
};

const stream = (name) => async (model) => {
  const events = [];
  const helper = client.messages.stream({ model, messages: user("case:" + name), tools, ...base });
  helper.on("streamEvent", (e) => events.push(plain(e)));
  const m = await helper.finalMessage();
  return { facts: factsOf(m), raw: events };
};

async function parse(model) {
  const m = await client.messages.parse({ model, messages: user("case:json"), ...base, output_config: { format: zodOutputFormat(Person) } });
  return { facts: { parsed: m.parsed_output, told: await seen("age") } };
}

async function loop(model) {
  let messages = user("case:parallel");
  for (const [next, word] of [["thought-tool", "sunny in"], ["text", "rain in"]]) {
    const m = await ask(model, messages, { tools });
    const results = m.content.filter((b) => b.type === "tool_use").map((b, i) => ({ type: "tool_result", tool_use_id: b.id, content: `${word} ${i}` }));
    messages = [...messages, { role: "assistant", content: m.content }, ...user([...results, { type: "text", text: "case:" + next }])];
  }
  const m = await ask(model, messages, { tools });
  return { facts: { ...factsOf(m), told: await seen("sunny in 0", "sunny in 1", "rain in 0"), signed: await seen("c2lnLTk5") } };
}

async function image(model) {
  const m = await ask(model, user([{ type: "text", text: "What is this? case:text" }, { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } }]));
  return { facts: { ...factsOf(m), told: await seen(PNG) } };
}

async function abort(model) {
  const events = await ask(model, user("case:slow"), { stream: true });
  let began = 0;
  for await (const _ of events) if (++began === 4) break;
  events.controller.abort();
  return { facts: { began, left: await left() } };
}

const error = (name, streamed) => (model) => raised(async () => {
  const answer = await ask(model, user("case:" + name), { stream: streamed });
  if (streamed) await collect(answer);
});

for (const name of [...CASES, "written"]) {
  add("messages", "whole", name, whole(name));
  add("messages", "stream", name, stream(name));
}
add("messages", "parse", "structured", parse);
add("messages", "loop", "text", loop);
add("messages", "image", "text", image);
add("messages", "abort", "slow", abort);
for (const name of ERRORS) {
  add("messages", "error", name, error(name, false));
  add("messages", "error-stream", name, error(name, true));
}
add("messages", "broken", "broken", error("broken", true));
add("messages", "models", "own", async (model) => ({ facts: { listed: (await collect(client.models.list())).some((m) => m.id === model) } }), { own: true });
add("messages", "count", "own", async (model) => ({ facts: { tokens: (await client.messages.countTokens({ model, messages: user("Hello there, how are you today?") })).input_tokens } }), { own: true });

await main();
