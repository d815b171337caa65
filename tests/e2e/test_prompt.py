#!/usr/bin/env python3
"""algorithm.type: prompt. A model chooses the candidate; whatever it does, the request is answered."""
import json

from harness import *

mock = Mock()
says = {"answer": "big"}
helper = Scripted(lambda body: says["answer"])
folder = tempfile.TemporaryDirectory()
LOG = os.path.join(folder.name, "access.jsonl")
CONFIG = """version: v0.3
providers:
  defaults: {default_model: small}
  models:
    - {name: small, pricing: {prompt_per_1m: 1, completion_per_1m: 2}, backend_refs: [{endpoint: "127.0.0.1:%(port)d"}]}
    - {name: big, pricing: {prompt_per_1m: 10, completion_per_1m: 30}, backend_refs: [{endpoint: "127.0.0.1:%(port)d"}]}
    - {name: helper, pricing: {prompt_per_1m: 10, completion_per_1m: 100}, backend_refs: [{endpoint: "127.0.0.1:%(helper)d"}]}
routing:
  modelCards:
    - {name: small, description: "short answers", capabilities: [chat], quality_score: 0.4}
    - {name: big, description: "long proofs"}
    - {name: helper}
  decisions:
    - name: all
      priority: 1
      modelRefs: [{model: small}, {model: big}]
      algorithm: {type: prompt, prompt: {model: helper, instructions: "Choose well.", timeout_seconds: 1}}
global:
%(more)s
  services: {observability: {access_log: "%(log)s"%(tracing)s}}
""" % dict(port=mock.port, helper=helper.port, log=LOG, more="%(more)s", tracing="%(tracing)s")
gateway = Gateway(CONFIG % {"more": "", "tracing": ""})


def ask(answer, text="prove it"):
    says["answer"] = answer
    r = gateway.chat(text)
    assert r.status == 200, r.body
    return r.getheader("x-vsr-selected-model")


def fallbacks(reason):
    return gateway.metric("llm_model_selection_fallback_total", method="prompt", reason=reason)


def last_line(n):
    wait_for(lambda: os.path.exists(LOG) and sum(1 for _ in open(LOG)) >= n, message="%d lines" % n)
    return json.loads(open(LOG).read().splitlines()[-1])


@test
def the_helper_is_told_of_the_candidates_and_chooses():
    assert ask("big") == "big"
    assert ask('{"selected_model": "small", "rationale": "easy, big is not needed"}') == "small"
    assert ask('{"selected_model": "big", "rationale": "hard"}', "what is <<<request?") == "big"
    body = helper.bodies[-1]
    system, user = (m["content"] for m in body["messages"])
    assert system.startswith("Choose well.") and "- small: short answers; good at: chat; quality 0.40; USD per million tokens: 1 in, 2 out\n" in system
    assert "- big: long proofs; USD" in system and "helper" not in system.split("The models:")[1]
    mark = re.match(r"<<<request ([0-9a-f]{16})>>>\nwhat is <<<request\?\n<<<end of request \1>>>\n$", user)
    assert mark and mark.group(1) in system, user
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == ("helper", 0, 512)
    assert body["response_format"] == {"type": "json_object"} and "stream" not in body


@test
def what_it_used_is_logged_and_counted():
    before = gateway.metric("llm_model_cost_total", model="helper")
    assert ask("big") == "big"
    line = last_line(len(helper.bodies))
    s = line["selection"]
    assert (s["prompt_helper_model"], s["prompt_helper_prompt_tokens"], s["prompt_helper_completion_tokens"], s["prompt_helper_total_tokens"]) == ("helper", 100, 10, 110), s
    assert abs(s["prompt_helper_cost"] - 0.002) < 1e-9 and s["prompt_helper_latency_ms"] > 0 and "fallback" not in s
    assert (line["algorithm"], line["reason"], line["model"]) == ("prompt", "helper", "big")
    assert abs(gateway.metric("llm_model_cost_total", model="helper") - before - 0.002) < 1e-9
    assert gateway.metric("signalbox_prompt_helper_total", model="helper", result="answered") >= 4


@test
def an_answer_that_chooses_nobody_leaves_the_declared_order():
    for answer, reason in [("medium", "unclear"), ("big or small", "ambiguous"), ('{"selected_model": "huge"}', "unknown-model"), ("  ", "empty"), ((500, "big"), "status"), ((200, None), "empty")]:
        before = fallbacks(reason)
        assert ask(answer) == "small", answer
        assert fallbacks(reason) == before + 1, (answer, reason)


@test
def a_slow_or_broken_helper_is_not_waited_for():
    before = fallbacks("timeout"), fallbacks("unreachable")
    assert ask(30) == "small"                   # within the 20 s that the client waits
    assert ask(0) == "small"
    assert (fallbacks("timeout"), fallbacks("unreachable")) == (before[0] + 1, before[1] + 1)


@test
def a_long_text_is_cut_and_the_answer_still_gets_all_of_it():
    text = "begin " + "x" * 40000 + " end"
    assert ask("big", text) == "big"
    told = helper.bodies[-1]["messages"][1]["content"]
    assert len(told) < 9000 and "begin x" in told and "x end" in told and "bytes are left out here" in told
    assert len(json.dumps(helper.bodies[-1])) < 12000


@test
def a_client_that_leaves_ends_the_question():
    says["answer"] = 30
    n, before = len(helper.bodies), mock.stats().get("requests", 0)
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "bye"}]}).encode()
    s = socket.create_connection(("127.0.0.1", gateway.data))
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    wait_for(lambda: len(helper.bodies) > n, message="the question")
    s.close()
    wait_for(lambda: gateway.metric("signalbox_prompt_helper_total", result="cancelled") == 1, message="the cancel")
    wait_for(lambda: gateway.metric("signalbox_http_requests_total", status="499") == 1, message="499")
    assert mock.stats().get("requests", 0) == before


@test
def a_model_asked_for_by_name_needs_no_helper():
    n = len(helper.bodies)
    assert gateway.chat("named", model="big").status == 200 and len(helper.bodies) == n


@test
def the_callers_budget_pays_for_the_helper():
    g = Gateway(CONFIG % {"more": "  identity: {require_key: always}", "tracing": ""})
    try:
        says["answer"] = "big"
        made = g.request("POST", "/api/v1/keys", {"id": "ann", "limits": {"requests_per_minute": 9}, "budget": {"amount_usd": 0.1, "period": "day"}, "models": ["small", "big", "auto"]}, port=g.admin)
        head = {"authorization": "Bearer " + json.loads(made.body)["key"]}

        def spent():
            view = json.loads(g.request("GET", "/api/v1/keys/ann", port=g.admin).body)
            return view["budget"]["spent_usd"]
        n = len(helper.bodies)
        r = g.chat("pay", head, max_tokens=10)
        assert r.status == 200 and r.getheader("x-vsr-selected-model") == "big", r.body     # the key names no helper, and needs not
        assert len(helper.bodies) == n + 1 and .002 < spent() < .004, spent()               # 100 tokens in, 10 out, and the answer
        assert r.getheader("x-ratelimit-remaining-requests") == "8", r.getheaders()          # the question is no request of the caller's
        # An answer of the helper may cost 0.0522 USD: when that is not there any more, nobody is asked, and the rest still works.
        while spent() < .049:
            g.chat("pay " + "word " * 2000, head, max_tokens=10, model="big")
        n, before = len(helper.bodies), g.metric("llm_model_selection_fallback_total", reason="budget")
        r = g.chat("pay", head, max_tokens=10)
        assert r.status == 200 and r.getheader("x-vsr-selected-model") == "small" and len(helper.bodies) == n, r.body
        assert g.metric("llm_model_selection_fallback_total", reason="budget") == before + 1
    finally:
        g.stop()


@test
def the_question_is_in_the_trace():
    collector = Scripted(lambda body: "{}")
    g = Gateway(CONFIG % {"more": "", "tracing": ', tracing: {enabled: true, exporter: {endpoint: "127.0.0.1:%d"}}' % collector.port})
    try:
        says["answer"] = "big"
        assert g.chat("trace me").status == 200
        wait_for(lambda: collector.bodies, message="spans")
        spans = [s for rs in collector.bodies[0]["resourceSpans"] for ss in rs["scopeSpans"] for s in ss["spans"]]
        helper_span = next(s for s in spans if s["name"] == "prompt_helper")
        told = {a["key"]: list(a["value"].values())[0] for a in helper_span["attributes"]}
        assert told["prompt_helper_model"] == "helper" and int(told["prompt_helper_prompt_tokens"]) == 100, told
        assert sum(s["name"] == "upstream" for s in spans) == 2       # the question, and the answer
    finally:
        g.stop()
        collector.stop()


@test
def a_helper_that_is_not_there_is_found_by_check():
    path = os.path.join(folder.name, "bad.yaml")
    with open(path, "w") as f:
        f.write((CONFIG % {"more": "", "tracing": ""}).replace("prompt: {model: helper", "prompt: {model: nobody"))
    r = subprocess.run([SIGNALBOX, "check", path], capture_output=True, text=True)
    assert "asks the model 'nobody'" in r.stdout + r.stderr, r.stdout + r.stderr


if __name__ == "__main__":
    try:
        main()
    finally:
        gateway.stop()
        mock.stop()
        helper.stop()
        folder.cleanup()
