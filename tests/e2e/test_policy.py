#!/usr/bin/env python3
"""What a decision does to a request: plugins, reasoning mode, selection, headers, metrics, traces."""
import base64, http.server, json

from harness import *

mock = Mock()
POLICY = """version: v0.3
providers:
  defaults:
    default_model: small
    default_reasoning_effort: medium
    reasoning_families:
      qwen3: {type: chat_template_kwargs, parameter: enable_thinking}
      gpt: {type: reasoning_effort, parameter: reasoning_effort}
  models:
    - {name: small, provider_model_id: org/small-1, reasoning_family: qwen3, pricing: {prompt_per_1m: 1, completion_per_1m: 2},
       backend_refs: [{endpoint: "127.0.0.1:%(port)d"}]}
    - {name: big, reasoning_family: gpt, pricing: {currency: EUR, prompt_per_1m: 10, completion_per_1m: 30},
       backend_refs: [{base_url: "http://127.0.0.1:%(port)d/api/v2", provider: openai, api_key: k, extra_headers: {x-tenant: "t"}}]}
routing:
  modelCards: [{name: small, loras: [{name: legal}], quality_score: 0.4}, {name: big, quality_score: 0.9}]
  signals:
    keywords:
      - {name: refuse, operator: OR, keywords: ["forbidden"]}
      - {name: think, operator: OR, keywords: ["prove"]}
      - {name: law, operator: OR, keywords: ["contract"]}
      - {name: shape, operator: OR, keywords: ["shape"]}
      - {name: strip, operator: OR, keywords: ["strip"]}
      - {name: pick, operator: OR, keywords: ["pick"]}
      - {name: split, operator: OR, keywords: ["split"]}
    language: [{name: de}, {name: en}]
    role_bindings: [{name: staff, role: staff, subjects: [{kind: Group, name: staff}]}]
  decisions:
    - {name: refusal, priority: 100, rules: {type: keyword, name: refuse}, modelRefs: [{model: small}],
       plugins: [{type: fast_response, configuration: {message: "I will not do this."}}]}
    - {name: thinking, priority: 90, rules: {type: keyword, name: think}, modelRefs: [{model: big, use_reasoning: true, reasoning_effort: high}]}
    - {name: lawyer, priority: 80, rules: {type: keyword, name: law}, modelRefs: [{model: small, lora_name: legal, use_reasoning: true}],
       plugins: [{type: system_prompt, configuration: {system_prompt: "You are a lawyer.", mode: insert}},
                 {type: header_mutation, configuration: {add: [{name: x-team, value: law}], delete: [x-gone]}}]}
    - {name: shaped, priority: 70, rules: {type: keyword, name: shape}, modelRefs: [{model: small}],
       plugins: [{type: request_params, configuration: {blocked_params: [logprobs], max_tokens_limit: 100, max_n: 2}},
                 {type: tools, configuration: {enabled: true, mode: filtered, block_tools: [danger]}}]}
    - {name: stripped, priority: 60, rules: {type: keyword, name: strip}, modelRefs: [{model: small}],
       plugins: [{type: request_params, configuration: {strip_unknown: true}}, {type: tools, configuration: {enabled: true, mode: none, strip_tool_history: true}},
                 {type: system_prompt, configuration: {system_prompt: "Only this."}}]}
    - {name: picked, priority: 50, rules: {type: keyword, name: pick}, modelRefs: [{model: small}, {model: big}],
       algorithm: {type: multi_factor, multi_factor: {weights: {quality: 1, latency: 0, cost: 0, load: 0}}}}
    - {name: splitted, priority: 45, rules: {type: keyword, name: split}, modelRefs: [{model: small, weight: 3}, {model: big, weight: 1}],
       algorithm: {type: weighted}}
    - {name: german, priority: 40, rules: {type: language, name: de}, modelRefs: [{model: big}]}
    - {name: staff, priority: 30, rules: {type: authz, name: staff}, modelRefs: [{model: big}]}
    - {name: rest, priority: 1, modelRefs: [{model: small}]}
global:
  services:
    authz: {fail_open: true}
    observability: {access_log: "%(log)s"%(tracing)s}
"""
folder = tempfile.TemporaryDirectory()
LOG = os.path.join(folder.name, "access.log")
gate = Gateway(POLICY % {"port": mock.port, "log": LOG, "tracing": ""})


def sent():
    return json.loads(base64.b64decode(mock.last()["body_base64"]))


def up(name):
    return [v for k, v in mock.last()["headers"] if k.lower() == name]


@test
def a_refusal_needs_no_model():
    before = mock.stats()["requests"]
    r = gate.chat("this is forbidden")
    body = json.loads(r.body)
    assert r.status == 200 and body["choices"][0]["message"]["content"] == "I will not do this.", body
    assert r.getheader("x-vsr-fast-response") == "true" and r.getheader("x-vsr-response-path") == "fast_response"
    r = gate.chat("this is forbidden", stream=True)
    events = sse(r.body)
    assert events[-1] == "[DONE]" and "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in events[:-1]) == "I will not do this."
    assert mock.stats()["requests"] == before


@test
def reasoning_is_switched_in_the_words_of_each_family():
    gate.chat("please prove it", reasoning_effort="low")
    assert sent()["model"] == "big" and sent()["reasoning_effort"] == "high", sent()
    assert mock.last()["path"] == "/api/v2/chat/completions" and up("x-tenant") == ["t"] and up("authorization") == ["Bearer k"]
    gate.chat("a contract", chat_template_kwargs={"a": 1})
    assert sent()["chat_template_kwargs"] == {"enable_thinking": True, "a": 1} or sent()["chat_template_kwargs"] == {"a": 1, "enable_thinking": True}, sent()
    gate.chat("nothing special", reasoning_effort="low")
    assert sent()["model"] == "org/small-1" and sent()["chat_template_kwargs"] == {"enable_thinking": False}
    assert "reasoning_effort" not in sent()
    assert mock.last()["path"] == "/v1/chat/completions" and not up("authorization")


@test
def system_prompts_are_inserted_and_headers_changed():
    r = gate.chat("a contract", headers={"x-gone": "1", "x-vsr-debug": "true"})
    assert sent()["model"] == "legal" and sent()["messages"][0] == {"role": "system", "content": "You are a lawyer."}
    assert up("x-team") == ["law"] and not up("x-gone")
    assert r.getheader("x-vsr-injected-system-prompt") == "true" and r.getheader("x-vsr-selected-model") == "legal"
    gate.chat("", messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a contract"}])
    assert sent()["messages"][0]["content"] == "You are a lawyer.\n\nBe brief.", sent()
    gate.chat("", messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "strip"}])
    assert sent()["messages"][0]["content"] == "Only this.", sent()


@test
def parameters_and_tools_are_bounded():
    tools = [{"type": "function", "function": {"name": n, "parameters": {}}} for n in ("read", "danger", "write")]
    gate.chat("shape", tools=tools, max_tokens=5000, n=9, logprobs=True, max_completion_tokens=50)
    body = sent()
    assert [t["function"]["name"] for t in body["tools"]] == ["read", "write"], body
    assert body["max_tokens"] == 100 and body["n"] == 2 and "logprobs" not in body and body["max_completion_tokens"] == 50
    messages = [{"role": "user", "content": "strip"}, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "read", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c", "content": "x"},
        {"role": "user", "content": "strip again"}]
    gate.chat("", messages=messages, tools=tools, tool_choice="auto", unknown_thing={"a": 1}, temperature=0.5)
    body = sent()
    assert set(body) == {"model", "messages", "temperature", "chat_template_kwargs"}, body   # the last one is the reasoning mode
    assert [m["role"] for m in body["messages"]] == ["system", "user", "user"], body


@test
def selection_follows_its_weights():
    r = gate.chat("pick one")
    assert r.getheader("x-vsr-selected-algorithm") == "multi_factor" and r.getheader("x-vsr-selected-model") == "big"
    got = [gate.chat("split %d" % i).getheader("x-vsr-selected-model") for i in range(200)]
    assert 25 <= got.count("big") <= 80, got.count("big")


@test
def languages_and_roles_decide():
    r = gate.chat("Könnten Sie mir bitte erklären, wie eine Dampflokomotive funktioniert?")
    assert r.getheader("x-vsr-selected-decision") == "german", r.getheaders()
    assert gate.chat("hello there", headers={"x-authz-user-id": "u", "x-authz-user-groups": "staff, other"}).getheader("x-vsr-selected-decision") == "staff"
    assert gate.chat("hello there", headers={"x-authz-user-id": "u"}).getheader("x-vsr-selected-decision") == "rest"
    assert not up("x-authz-user-id")


@test
def debug_headers_are_for_those_who_ask():
    plain, debug = gate.chat("prove"), gate.chat("prove", headers={"x-vsr-debug": "true"})
    assert plain.getheader("x-vsr-matched-keywords") is None
    assert debug.getheader("x-vsr-matched-keywords") == "think", debug.getheaders()
    assert int(debug.getheader("x-vsr-context-token-count")) > 0


@test
def the_access_log_and_the_metrics_tell_the_same_story():
    gate.chat("prove it", headers={"x-mock-usage": "100,50", "x-request-id": "find-me"})
    line = wait_for(lambda: next((json.loads(l) for l in open(LOG) if "find-me" in l), None), 5, "the log line")
    assert line["decision"] == "thinking" and line["model"] == "big" and line["status"] == 200
    assert abs(line["cost"] - (100 * 10 + 50 * 30) / 1e6) < 1e-12 and line["currency"] == "EUR", line
    assert "keyword:think" in line["signals"] and line["prompt_tokens"] == 100
    assert gate.metric("llm_model_prompt_tokens_total", model="big") >= 100
    assert gate.metric("llm_decision_match_total", decision_name="thinking") >= 1
    assert gate.metric("llm_signal_match_total", signal_type="keyword", signal_name="think") >= 1
    assert gate.metric("signalbox_units_avoided_total", signal_type="language") >= 1, "a keyword of higher priority had settled it"
    assert gate.metric("llm_model_selection_total", method="multi_factor") >= 1
    assert gate.metric("llm_plugin_execution_total", plugin_type="fast_response") >= 1


@test
def eval_and_the_data_path_agree():
    for text in ("prove it", "a contract", "forbidden", "shape", "nothing", "Könnten Sie mir bitte erklären, wie das funktioniert?"):
        r = gate.request("POST", "/api/v1/eval?trace=true", {"text": text}, port=gate.admin)
        got = json.loads(r.body)
        assert got["routing_decision"] == gate.chat(text).getheader("x-vsr-selected-decision"), (text, got["routing_decision"])
    assert gate.request("POST", "/api/v1/eval", {"text": ""}, port=gate.admin).status == 400
    assert gate.request("POST", "/api/v1/eval", {"text": "x", "model": "nope"}, port=gate.admin).status == 400


class Collector(http.server.BaseHTTPRequestHandler):
    got = []

    def do_POST(self):
        Collector.got.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


@test
def traces_continue_the_callers_and_name_the_model():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tracing = ", tracing: {enabled: true, exporter: {endpoint: \"127.0.0.1:%d\"}}" % server.server_port
    g = Gateway(POLICY % {"port": mock.port, "log": LOG, "tracing": tracing})
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    g.chat("prove it", headers={"traceparent": "00-%s-00f067aa0ba902b7-01" % trace_id, "tracestate": "a=b"})
    parent = up("traceparent")[0]
    assert parent.split("-")[1] == trace_id and parent.split("-")[2] != "00f067aa0ba902b7" and up("tracestate") == ["a=b"]
    wait_for(lambda: Collector.got, 10, "spans")
    path, body = Collector.got[0]
    spans = {s["name"]: s for rs in body["resourceSpans"] for ss in rs["scopeSpans"] for s in ss["spans"]}
    root = spans["chat big"]
    assert path == "/v1/traces" and root["traceId"] == trace_id and root["parentSpanId"] == "00f067aa0ba902b7", spans
    keys = {a["key"] for a in root["attributes"]}
    assert {"gen_ai.operation.name", "gen_ai.request.model", "gen_ai.usage.input_tokens", "decision.name", "routing.selected_model"} <= keys, keys
    assert any(s.get("parentSpanId") == root["spanId"] for s in spans.values())
    g.stop()
    server.shutdown()


@test
def ipv6_works_on_both_sides():
    m = None
    try:
        m = Process([MOCKLLM, "--listen", "[::1]:0"])
        port = int(wait_for(lambda: re.search(r"listening \[::1\]:(\d+)", m.output()), message="mockllm").group(1))
    except AssertionError:
        print("  no IPv6 here")
        return
    g = Gateway(config(0, backends="[{name: a, base_url: \"http://[::1]:%d/v1\", provider: openai}]" % port))
    listen = free_port()
    g2 = Process([SIGNALBOX, "serve", "-c", g.path, "--listen", "[::1]:%d" % listen, "--admin", "127.0.0.1:%d" % free_port()])
    assert g.chat().status == 200

    def ask():
        try:
            c = http.client.HTTPConnection("::1", listen, timeout=5)
            c.request("POST", "/v1/chat/completions", json.dumps({"model": "auto", "messages": [{"role": "user", "content": "x"}]}))
            return c.getresponse().status == 200
        except OSError:
            return False
    wait_for(ask, 10, "an answer over IPv6")
    g.stop(), g2.stop(), m.stop()


@test
def management_beyond_loopback_needs_a_token():
    p = Process([SIGNALBOX, "serve", "-c", gate.path, "--listen", "127.0.0.1:%d" % free_port(), "--admin", "0.0.0.0:%d" % free_port()])
    p.p.wait(10)
    assert p.p.returncode == 2 and "token" in p.output(), p.output()
    text = POLICY % {"port": mock.port, "log": "off", "tracing": ""}
    text = text.replace("    authz:", "    management_api: {auth: {mode: bearer, tokens: [{env: T_ADMIN, role: admin}, {env: T_VIEW, role: viewer}]}}\n    authz:")
    g = Gateway(text, env={"T_ADMIN": "secret-a", "T_VIEW": "secret-v"})
    ask = lambda method, path, token, body=None: g.request(method, path, body, {"authorization": "Bearer " + token} if token else {}, port=g.admin).status
    assert ask("GET", "/health", "") == 200
    assert ask("GET", "/api/v1/models", "") == 401 and ask("GET", "/api/v1/models", "wrong") == 401
    assert ask("GET", "/api/v1/models", "secret-v") == 200
    assert ask("PUT", "/api/v1/config", "secret-v", text) == 403
    assert ask("PUT", "/api/v1/config", "secret-a", text) == 200
    dump = g.request("GET", "/api/v1/config", None, {"authorization": "Bearer secret-a"}, port=g.admin).body
    assert b"version" in dump and b"api_key: k\n" not in dump and b"api_key: \"k\"" not in dump
    g.stop()


@test
def it_stops_cleanly():
    assert gate.stop() == 0
    mock.stop()
    folder.cleanup()


if __name__ == "__main__":
    main()
