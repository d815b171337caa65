// What the SDK scripts in JavaScript share; the twin of sdk_lib.py, which explains the lines that a script prints.

export const BASE = process.env.CLIENT_BASE_URL;        // without a path
export const MOCK = process.env.CLIENT_MOCK_URL;
export const KEY = process.env.CLIENT_API_KEY;
export const IS_DIRECT = process.env.CLIENT_SIDE === "direct";
const MODELS = process.env.CLIENT_MODELS.split(",");

export const CASES = ["text", "empty", "tool", "text-tool", "parallel", "no-arguments", "thought", "thought-tool", "length", "filter", "refusal", "json", "cached"];
export const ERRORS = ["rate-limit", "invalid", "overloaded", "server-error"];
export const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=";
const city = { type: "object", properties: { city: { type: "string" }, unit: { type: "string" } }, required: ["city"] };
export const TOOLS = [["get_weather", "The weather in a city", city], ["get_time", "The time", { type: "object", properties: {} }]];

const scenarios = [];
// `own`: the gateway's own doors, which a provider alone does not have.
export function add(api, how, name, run, { own = false } = {}) {
  if (!(own && IS_DIRECT)) scenarios.push([api, how, name, run]);
}

export async function main() {
  const only = new Set(process.argv.slice(2));
  for (const model of MODELS)
    for (const [api, how, name, run] of scenarios) {
      if (only.size && ![api, how, name].some((x) => only.has(x))) continue;
      const start = performance.now();
      let result, timer;
      const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("no end after 12 s")), 12000)));
      try {
        result = await Promise.race([run(model), late]);
      } catch (e) {
        result = { facts: { died: `${e?.constructor?.name}: ${String(e?.message ?? e).slice(0, 1500)}` } };
      }
      clearTimeout(timer);
      const seconds = Math.round(performance.now() - start) / 1000;
      process.stdout.write(JSON.stringify({ api, how, case: name, model, seconds, ...result }) + "\n");
    }
  await new Promise((resolve) => process.stdout.write("", resolve));
  process.exit(0);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const books = async () => (await fetch(MOCK + "/mock/requests?last", { signal: AbortSignal.timeout(5000) })).json();

// Whether the provider's last request holds the words.
export async function seen(...words) {
  const text = (await books()).at(-1).raw;
  return words.map((w) => text.includes(w));
}

// Whether the provider notices, within two seconds, that nobody listens any more.
export async function left() {
  for (const end = performance.now() + 2000; performance.now() < end; await sleep(20)) if ((await books()).at(-1).end === "left") return true;
  return false;
}

export const plain = (x) => JSON.parse(JSON.stringify(x));
export const parsed = (text) => (typeof text === "string" ? (text ? JSON.parse(text) : {}) : (text ?? {}));

export async function collect(iterable) {
  const all = [];
  for await (const x of iterable) all.push(x);
  return all;
}
