// What the JavaScript clients share; the twin of lib.py, which explains the shape of a result.

export const BASE = process.env.CLIENT_BASE_URL;
export const MOCK = process.env.CLIENT_MOCK_URL;
export const KEY = process.env.CLIENT_API_KEY;
export const AUTO = process.env.CLIENT_AUTO_MODEL;
export const UNIQUE = process.env.CLIENT_UNIQUE;
export const MODEL = "mock";

const citySchema = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
export const WEATHER = { type: "function", function: { name: "get_weather", description: "The weather in a city", parameters: citySchema } };
export const TIME = { type: "function", function: { name: "get_time", description: "The time in a city", parameters: citySchema } };
export const PERSON = {
  title: "Person",
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};
export const HELLO = "Say hello in a few words.";
export const ODD = 'Grüße \u{1f600} \u6771\u4eac "quoted" back\\slash \u2028 tab\t end';
export const ONE_TOOL = "Please use a tool to look up the weather.";
export const TWO_TOOLS = "Please use two tools in parallel.";
export const ERRORS = {
  error_400: { "x-mock-status": "400", "x-mock-error-code": "invalid_value" },
  error_404: { "x-mock-status": "404", "x-mock-error-code": "model_not_found" },
  error_422: { "x-mock-status": "422", "x-mock-error-code": "unprocessable" },
  error_429: { "x-mock-status": "429", "x-mock-error-code": "rate_limit_exceeded", "x-mock-retry-after-ms": "40" },
  error_500: { "x-mock-status": "500", "x-mock-error-code": "server_error" },
  error_503: { "x-mock-status": "503", "x-mock-error-code": "overloaded" },
  error_401: { "x-mock-status": "401", "x-mock-error-code": "invalid_api_key" },
  error_403: { "x-mock-status": "403", "x-mock-error-code": "forbidden" },
};
export const SLOW = { "x-mock-tokens": "400", "x-mock-gap-ms": "20" };
export const LATE = { "x-mock-delay-ms": "8000" };
export const RETRY = { "x-mock-status": "429", "x-mock-fail-first": "1", "x-mock-retry-after-ms": "30", "x-mock-key": "retry-" + UNIQUE };
export const user = (text) => [{ role: "user", content: text }];

const scenarios = [];
export const add = (name, run) => scenarios.push([name, run]);
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function main() {
  const only = process.argv.slice(2);
  for (const [name, run] of scenarios) {
    if (only.length && !only.includes(name)) continue;
    const start = performance.now();
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("no end after 12 s")), 12000)));
    let result;
    try {
      result = await Promise.race([run(), late]);
    } catch (e) {
      result = { raised: e?.constructor?.name ?? "unknown", message: String(e?.message ?? e).slice(0, 2000) };
    }
    clearTimeout(timer);
    const seconds = Math.round(performance.now() - start) / 1000;
    process.stdout.write(JSON.stringify({ scenario: name, result, seconds }) + "\n");
  }
  await new Promise((resolve) => process.stdout.write("", resolve));
  process.exit(0);
}

export const books = async () => (await fetch(MOCK + "/mock/stats", { signal: AbortSignal.timeout(5000) })).json();

// Runs `abort`, which must leave a request half done, and waits for the mock to notice.
export async function afterAbort(abort) {
  const before = await books();
  const raw = await abort();
  const start = performance.now();
  let rose, idle;
  for (;;) {
    const now = await books();
    rose = now.client_closed_mid_response > before.client_closed_mid_response;
    idle = now.in_flight <= before.in_flight;
    if ((rose && idle) || performance.now() - start > 2000) break;
    await sleep(10);
  }
  return { facts: { closed_rose: rose, in_flight_zero: idle }, raw };
}

export const usageFacts = (u) =>
  u ? { prompt_tokens: u.prompt_tokens, completion_tokens: u.completion_tokens, total_tokens: u.total_tokens } : null;

// Facts of a chat.completion or text_completion.
export function answerFacts(body) {
  const first = body.choices[0];
  const message = first.message ?? {};
  return {
    text: first.message ? message.content : first.text,
    finish: first.finish_reason,
    tools: (message.tool_calls ?? []).map((c) => [c.function.name, JSON.parse(c.function.arguments)]),
    usage: usageFacts(body.usage),
    choices: body.choices.length,
    logprobs: Boolean(first.logprobs?.content?.length),
    model: body.model,
  };
}

// Facts of a list of chunks; also what only a stream can get wrong.
export function streamFacts(chunks) {
  const text = {}, tools = {}, heads = new Set();
  let finish = null, usage = null, pieces = 0, lone = 0, members = 0, logprobs = false;
  for (const chunk of chunks) {
    heads.add(JSON.stringify([chunk.id, chunk.created, chunk.model]));
    if ("usage" in chunk) members++;
    if (chunk.usage) {
      usage = usageFacts(chunk.usage);
      if (chunk.choices.length === 0) lone++;
    }
    for (const choice of chunk.choices) {
      const delta = choice.delta ?? { content: choice.text };
      if (choice.logprobs) logprobs = true;
      if (delta.content) {
        pieces++;
        text[choice.index] = (text[choice.index] ?? "") + delta.content;
      }
      for (const call of delta.tool_calls ?? []) {
        const seen = (tools[call.index] ??= { ids: 0, names: [], arguments: "" });
        if (call.id) seen.ids++;
        if (call.function?.name) seen.names.push(call.function.name);
        seen.arguments += call.function?.arguments ?? "";
      }
      finish = choice.finish_reason ?? finish;
    }
  }
  const calls = Object.keys(tools).map(Number).sort((a, b) => a - b).map((i) => tools[i]);
  return {
    text: text[0] ?? null,
    pieces,
    choices: Math.max(Object.keys(text).length, 1),
    finish,
    tools: calls.map((t) => [t.names[0], JSON.parse(t.arguments)]),
    names_once: calls.every((t) => t.ids === 1 && t.names.length === 1),
    usage,
    lone_usage: lone,
    usage_members: members,
    same_head: heads.size === 1,
    logprobs,
    model: chunks[0]?.model ?? null,
  };
}

export function vectorFacts(vectors) {
  return { vectors: vectors.length, same_size: new Set(vectors.map((v) => v.length)).size === 1, size: vectors[0].length };
}
