// Google's SDK for JavaScript: generateContent.
import { ApiError, GoogleGenAI } from "@google/genai";
import { add, BASE, CASES, collect, ERRORS, KEY, left, main, plain, PNG, seen, TOOLS } from "./sdk_lib.mjs";

const client = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: BASE, timeout: 10000 } });
const tools = [{ functionDeclarations: TOOLS.map(([name, description, parametersJsonSchema]) => ({ name, description, parametersJsonSchema })) }];
const schema = { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"] };

async function raised(call) {
  try {
    await call();
  } catch (e) {
    if (!(e instanceof ApiError)) throw e;
    let error = {};
    try {
      error = JSON.parse(e.message.slice(e.message.indexOf("{"))).error ?? {};       // some begin with "got status: ..."
    } catch {}
    return { facts: { raised: e.constructor.name, status: e.status, type: error.status ?? null, says: error.message ?? e.message } };
  }
  return { facts: { raised: null } };
}

function factsOf(chunks) {
  const facts = { text: "", thought: "", refusal: "", calls: [], stop: null, usage: null };
  for (const chunk of chunks) {
    for (const c of chunk.candidates ?? []) {
      for (const p of c.content?.parts ?? []) {
        if (p.functionCall) facts.calls.push([p.functionCall.name, p.functionCall.args ?? {}]);
        else facts[p.thought ? "thought" : "text"] += p.text ?? "";
      }
      facts.stop = c.finishReason ?? facts.stop;
    }
    const u = chunk.usageMetadata;
    if (u)
      facts.usage = {
        input: u.promptTokenCount, output: (u.candidatesTokenCount ?? 0) + (u.thoughtsTokenCount ?? 0), cached: u.cachedContentTokenCount ?? 0,
        thought: u.thoughtsTokenCount ?? 0,
      };
  }
  return facts;
}

const ask = (model, contents, config = {}) => client.models.generateContent({ model, contents, config });
const bare = ({ sdkHttpResponse: _, ...x }) => plain(x);

const whole = (name) => async (model) => {
  const r = await ask(model, "case:" + name, { tools });
  return { facts: factsOf([r]), raw: bare(r) };
};

const stream = (name) => async (model) => {
  const chunks = await collect(await client.models.generateContentStream({ model, contents: "case:" + name, config: { tools } }));
  return { facts: factsOf(chunks), raw: chunks.map(bare) };
};

async function parse(model) {
  const r = await ask(model, "case:json", { responseMimeType: "application/json", responseJsonSchema: schema });
  return { facts: { parsed: JSON.parse(r.text), told: await seen("age") } };
}

async function loop(model) {
  let contents = [{ role: "user", parts: [{ text: "case:parallel" }] }];
  for (const [next, word] of [["thought-tool", "sunny in"], ["text", "rain in"]]) {
    const r = await ask(model, contents, { tools });
    const parts = r.functionCalls.map((c, i) => ({ functionResponse: { ...(c.id ? { id: c.id } : {}), name: c.name, response: { output: `${word} ${i}` } } }));
    contents = [...contents, r.candidates[0].content, { role: "user", parts }, { role: "user", parts: [{ text: "case:" + next }] }];
  }
  const r = await ask(model, contents, { tools });
  return { facts: { ...factsOf([r]), told: await seen("sunny in 0", "sunny in 1", "rain in 0"), signed: await seen("c2lnLTk5") } };
}

async function image(model) {
  const r = await ask(model, [{ role: "user", parts: [{ text: "What is this? case:text" }, { inlineData: { mimeType: "image/png", data: PNG } }] }]);
  return { facts: { ...factsOf([r]), told: await seen(PNG) } };
}

async function abort(model) {
  const controller = new AbortController();
  const chunks = await client.models.generateContentStream({ model, contents: "case:slow", config: { abortSignal: controller.signal } });
  let began = 0;
  for await (const _ of chunks) if (++began === 3) break;
  controller.abort();
  return { facts: { began, left: await left() } };
}

for (const name of CASES) {
  add("gemini", "whole", name, whole(name));
  add("gemini", "stream", name, stream(name));
}
add("gemini", "parse", "structured", parse);
add("gemini", "loop", "text", loop);
add("gemini", "image", "text", image);
add("gemini", "abort", "slow", abort);
for (const name of ERRORS) {
  add("gemini", "error", name, (model) => raised(() => ask(model, "case:" + name)));
  add("gemini", "error-stream", name, (model) => raised(() => stream(name)(model)));
}
add("gemini", "broken", "broken", (model) => raised(() => stream("broken")(model)));
add("gemini", "models", "own", async (model) => ({ facts: { listed: (await collect(await client.models.list())).some((m) => m.name === "models/" + model) } }), { own: true });
add("gemini", "count", "own", async (model) => ({ facts: { tokens: (await client.models.countTokens({ model, contents: "Hello there, how are you today?" })).totalTokens } }), { own: true });

await main();
