// LangChain for JavaScript on @langchain/anthropic (Messages).
import { ChatAnthropic } from "@langchain/anthropic";
import { HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { add, BASE, CASES, collect, ERRORS, KEY, left, main, PNG, seen, TOOLS } from "./sdk_lib.mjs";

const tools = TOOLS.map(([name, description, input_schema]) => ({ name, description, input_schema }));
const chat = (model, more = {}) => new ChatAnthropic({ model, apiKey: KEY, anthropicApiUrl: BASE, maxRetries: 0, maxTokens: 2048, ...more });
const ask = (text) => [new SystemMessage("Be brief."), new HumanMessage(text)];

function factsOf(m) {
  const blocks = typeof m.content === "string" ? [{ type: "text", text: m.content }] : m.content;
  const join = (type, key) => blocks.filter((b) => b.type === type).map((b) => b[key] ?? "").join("");
  const u = m.usage_metadata, read = u.input_token_details?.cache_read ?? 0;
  return {
    text: join("text", "text"), thought: join("thinking", "thinking"), signature: join("thinking", "signature") + join("redacted_thinking", "data"), refusal: "",
    calls: (m.tool_calls ?? []).map((c) => [c.name, c.args]), stop: m.response_metadata.stop_reason ?? m.additional_kwargs.stop_reason,
    usage: { input: u.input_tokens, output: u.output_tokens, cached: read },
  };
}

async function raised(call) {
  try {
    await call();
  } catch (e) {
    return { facts: { raised: "error", status: e.status ?? null, says: e.error?.error?.message ?? e.message } };
  }
  return { facts: { raised: null } };
}

async function gathered(stream) {
  const chunks = await collect(await stream);
  return chunks.slice(1).reduce((a, b) => a.concat(b), chunks[0]);
}

for (const name of CASES) {
  add("messages", "whole", name, async (model) => ({ facts: factsOf(await chat(model).bindTools(tools).invoke(ask("case:" + name))) }));
  add("messages", "stream", name, async (model) => {
    const facts = factsOf(await gathered(chat(model).bindTools(tools).stream(ask("case:" + name))));
    // It adds up what message_start says, which is an estimate where the upstream tells usage last, and what message_delta says.
    const { input } = facts.usage;
    return { facts: { ...facts, usage: {}, estimate: input > 10 && input <= 2000 } };
  });
}
add("messages", "loop", "text", async (model) => {
  const bound = chat(model).bindTools(tools);
  const first = await bound.invoke(ask("case:parallel"));
  const results = first.tool_calls.map((c, i) => new ToolMessage({ tool_call_id: c.id, content: `sunny in ${i}` }));
  const last = await bound.invoke([...ask("case:text"), first, ...results]);
  return { facts: { ...factsOf(last), told: await seen("sunny in 0", "sunny in 1") } };
});
add("messages", "image", "text", async (model) => {
  const content = [{ type: "text", text: "What is this? case:text" }, { type: "image_url", image_url: { url: "data:image/png;base64," + PNG } }];
  return { facts: { ...factsOf(await chat(model).invoke([new HumanMessage({ content })])), told: await seen(PNG) } };
});
add("messages", "abort", "slow", async (model) => {
  const controller = new AbortController();
  let began = 0;
  try {
    for await (const _ of await chat(model).stream(ask("case:slow"), { signal: controller.signal })) if (++began === 3) controller.abort();
  } catch {}
  return { facts: { began, left: await left() } };
});
for (const name of ERRORS) {
  add("messages", "error", name, (model) => raised(() => chat(model).invoke(ask("case:" + name))));
  add("messages", "error-stream", name, (model) => raised(() => gathered(chat(model).stream(ask("case:" + name)))));
}
add("messages", "broken", "broken", async (model) => ({ facts: { raised: (await raised(() => gathered(chat(model).stream(ask("case:broken"))))).facts.raised } }));

await main();
