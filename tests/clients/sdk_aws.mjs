// AWS's SDK for JavaScript as the judge of what signalbox says to Bedrock: it says the same Converse questions to the provider once
// more, from what signalbox wrote, and path and body must come out as they were. A member that the SDK does not know is lost on the
// way, and is found so. Its parser reads the provider's frames, as signalbox does.
// Reads the recorded requests (JSON, on stdin) and prints one line {"label", "wrong"} for every check.
import { readFileSync } from "node:fs";
import { Agent } from "node:http";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand } from "@aws-sdk/client-bedrock-runtime";

const MOCK = process.env.CLIENT_MOCK_URL, MOST = 150;
const credentials = { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY };
// It would speak HTTP/2, and wait for ever.
const requestHandler = new NodeHttpHandler({ httpAgent: new Agent({ keepAlive: false }), connectionTimeout: 3000, requestTimeout: 15000, socketTimeout: 15000, throwOnRequestTimeout: true });
const client = new BedrockRuntimeClient({ region: "us-east-1", endpoint: MOCK, credentials, maxAttempts: 1, requestHandler });
const say = (label, wrong) => process.stdout.write(JSON.stringify({ label, wrong }) + "\n");
const last = async () => (await (await fetch(MOCK + "/mock/requests?last")).json())[0];

// Blobs are base64 in JSON and bytes in the SDK.
function typed(value, key) {
  if ((key === "bytes" || key === "redactedContent") && typeof value === "string") return new Uint8Array(Buffer.from(value, "base64"));
  if (Array.isArray(value)) return value.map((v) => typed(v));
  if (value && typeof value === "object" && !["input", "json", "additionalModelRequestFields"].includes(key))
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, typed(v, k)]));
  return value;
}

const sorted = (v) =>
  Array.isArray(v) ? v.map(sorted) : v && typeof v === "object" ? Object.fromEntries(Object.keys(v).sort().map((k) => [k, sorted(v[k])])) : v;
const text = (v) => JSON.stringify(sorted(v));

async function drain(answer) {
  const kinds = [];
  for await (const event of answer.stream) kinds.push(Object.keys(event)[0]);
  return kinds;
}

const seen = new Map();
for (const q of JSON.parse(readFileSync(0, "utf8")))
  if (q.format === "converse" && !q.raw.includes("case:slow") && seen.size < MOST) seen.set(q.path + text(q.body), q);

const said = [], frames = [];
for (const q of seen.values()) {
  const streamed = q.path.endsWith("/converse-stream");
  const modelId = decodeURIComponent(q.path.split("/")[2]);
  const input = { modelId, ...typed(q.body) };
  let kinds, error;
  try {
    const answer = await client.send(streamed ? new ConverseStreamCommand(input) : new ConverseCommand(input));
    if (streamed) kinds = await drain(answer);
  } catch (e) {
    error = e;
  }
  const again = (await last()) ?? { path: String(error) };
  if (again.path !== q.path) said.push(`the path was ${q.path}, this SDK says ${again.path}`);
  if (text(again.body) !== text(q.body)) said.push(`the body was ${q.raw.slice(0, 400)}, this SDK says ${again.raw.slice(0, 400)}`);
  const fails = /case:(rate-limit|invalid|overloaded|server-error|broken)/.exec(q.raw);
  if (Boolean(error) !== Boolean(fails)) frames.push(`${fails?.[0] ?? "an answer"}: ${error ?? "no error"}`);
  if (error && fails && !/Exception$/.test(error.name)) frames.push(`${fails[0]}: the error is ${error.name}`);
  if (kinds && !error && (kinds[0] !== "messageStart" || kinds.at(-1) !== "metadata")) frames.push(`the stream was ${kinds}`);
}
say(`AWS SDK for JavaScript: ${seen.size} Converse requests said again`, said);
say("AWS SDK for JavaScript: answers and frames", frames);
client.destroy();
await new Promise((done) => process.stdout.write("", done));
process.exit(0);        // streams that broke off leave sockets behind, which would keep the process
