#!/usr/bin/env python3
"""A judge marks a share of the answers: which share, what it sees, what comes of its marks, and that nobody waits for it."""
import json, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mock"))
import provider
from harness import *

folder = tempfile.TemporaryDirectory()
says = {"judge": '{"score": 9}', "answer": None}
lock = threading.Lock()
count = [0]


def speak(body):
    if says["answer"] is not None:
        return says["answer"]
    with lock:
        count[0] += 1
        return "the answer number %d, of which there is no second one that says the same" % count[0]


def mark(body):
    told = says["judge"]
    return told(body) if callable(told) else told


model, judge, mock = Scripted(speak), Scripted(mark), Mock()
foreign = Process([sys.executable, os.path.join(ROOT, "tests", "mock", "provider.py")])
foreign_port = int(wait_for(lambda: re.search(r"listening 127\.0\.0\.1:(\d+)", foreign.output()), message="provider").group(1))
CONFIG = """version: v0.3
providers:
  defaults: {default_model: small}
  models:
    - {name: small, backend_refs: [{endpoint: "127.0.0.1:%(model)d"}]}
    - {name: big, backend_refs: [{endpoint: "127.0.0.1:%(model)d"}]}
    - {name: streams, backend_refs: [{endpoint: "127.0.0.1:%(mock)d"}]}
    - {name: foreign, api_format: anthropic, backend_refs: [{base_url: "http://127.0.0.1:%(foreign)d", provider: anthropic, api_key: k}]}
    - {name: grader, pricing: {prompt_per_1m: 10, completion_per_1m: 100}, backend_refs: [{endpoint: "127.0.0.1:%(judge)d"}]}
    - {name: broken, backend_refs: [{endpoint: "127.0.0.1:1"}]}
routing:
  modelCards: [{name: small, quality_score: 0.5}, {name: big, quality_score: 0.5}, {name: streams}, {name: foreign}, {name: grader}, {name: broken}]
  signals:
    keywords:
      - {name: mock, operator: OR, keywords: ["mocked"]}
      - {name: alien, operator: OR, keywords: ["alien"]}
      - {name: fail, operator: OR, keywords: ["breakage"]}
      - {name: self, operator: OR, keywords: ["yourself"]}
  decisions:
    - {name: mocked, priority: 9, rules: {type: keyword, name: mock}, modelRefs: [{model: streams}]}
    - {name: alien, priority: 9, rules: {type: keyword, name: alien}, modelRefs: [{model: foreign}]}
    - {name: failing, priority: 9, rules: {type: keyword, name: fail}, modelRefs: [{model: broken}]}
    - {name: itself, priority: 9, rules: {type: keyword, name: self}, modelRefs: [{model: grader}]}
    - {name: all, priority: 1, modelRefs: [{model: small}, {model: big}]}
global:
  router:
    learning:
      enabled: true
      state_dir: %(state)s
      judge: {model: grader, %(judging)s}
  services: {observability: {access_log: "%(log)s"}}
"""


def gateway(name, judging="sample: 1"):
    return Gateway(CONFIG % dict(model=model.port, judge=judge.port, mock=mock.port, foreign=foreign_port, state=os.path.join(folder.name, name), judging=judging, log=os.path.join(folder.name, name + ".jsonl")))


def counted(g, result, reason=None):
    return g.metric("signalbox_judge_total", result=result, **({} if reason is None else {"reason": reason}))


def all_counted(g):
    return sum(counted(g, x) for x in ("judged", "skipped", "dropped", "failed"))


def after(g, n):
    wait_for(lambda: all_counted(g) >= n, message="%d answers to be judged or not: %s" % (n, all_counted(g)))


def said(g, r):
    return json.loads(g.request("GET", "/api/v1/outcomes/" + r.getheader("x-request-id"), port=g.admin).body)["said"]


def show(g):
    return json.loads(g.request("GET", "/api/v1/learning", port=g.admin).body)


@test
def an_answer_is_marked_and_the_mark_is_an_outcome():
    says["judge"] = '{"score": 9}'
    g = gateway("a")
    try:
        r = g.chat("why is the sky blue?")
        answer = json.loads(r.body)["choices"][0]["message"]["content"]
        after(g, 1)
        assert counted(g, "judged") == 1
        got = said(g, r)
        assert abs(got["judge"]["reward"] - .9) < 1e-6 and abs(got["judge"]["weight"] - .36) < 1e-6, got    # nothing is known of its error
        body = judge.bodies[-1]
        system, user = (m["content"] for m in body["messages"])
        m = re.match(r"<<<question ([0-9a-f]{16})>>>\nwhy is the sky blue\?\n<<<end of question \1>>>\n<<<answer \1>>>\n(.*)\n<<<end of answer \1>>>\n$", user)
        assert m and m.group(2) == answer and m.group(1) in system, user
        assert body["model"] == "grader" and body["temperature"] == 0
        assert '"judged"' in g.output() and r.getheader("x-request-id") in g.output()
        assert g.metric("signalbox_judge_seconds_count") == 1 and g.metric("llm_model_cost_total", model="grader") > 0
    finally:
        g.p.kill()
        g.p.wait(10)
        g.stop()
    g = gateway("a")                            # kill -9: what was said is in the journal
    try:
        assert said(g, r) == got
    finally:
        g.stop()


def mix(v):
    bits = (1 << 64) - 1
    v = (v + 0x9e3779b97f4a7c15) & bits
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9 & bits
    v = (v ^ v >> 27) * 0x94d049bb133111eb & bits
    return v ^ v >> 31


@test
def the_seed_says_which_answers_are_judged():
    says["judge"] = "5"
    g = gateway("b", "sample: 0.3")
    n = len(judge.bodies)
    try:
        for i in range(60):
            assert g.chat("question %d" % i).status == 200
        path = os.path.join(folder.name, "b.jsonl")
        wait_for(lambda: os.path.exists(path) and sum(1 for _ in open(path)) == 60, message="the log")
        lines = [json.loads(x) for x in open(path)]
        chosen = [x for x in lines if (mix(int(x["selection"]["seed"], 16) ^ 0x6a75646765) >> 11) * 2.0 ** -53 < .3]
        assert [x["request_id"] for x in chosen] == [x["request_id"] for x in lines if x["selection"].get("judge") == "sampled"]
        assert 3 < len(chosen) < 40
        after(g, len(chosen))
        assert counted(g, "judged") == len(chosen) and len(judge.bodies) - n == len(chosen)
    finally:
        g.stop()


@test
def the_text_is_kept_in_every_dialect_whole_and_streamed():
    says["judge"] = "5"
    g = gateway("c")
    from_ = len(judge.bodies)
    try:
        def last_answer(n):
            after(g, n)
            assert counted(g, "judged") == n, metrics()
            return re.search(r"<<<answer (\w+)>>>\n(.*)\n<<<end of answer", judge.bodies[-1]["messages"][1]["content"], re.S).group(2)

        def answers():
            return [re.search(r"<<<answer (\w+)>>>\n(.*)\n<<<end of answer", b["messages"][1]["content"], re.S).group(2) for b in judge.bodies[from_:]]

        def streamed(r):
            return "".join((json.loads(x)["choices"] or [{"delta": {}}])[0]["delta"].get("content") or "" for x in sse(r.body) if x != "[DONE]")
        tokens = {"x-mock-tokens": "30"}
        metrics = lambda: [x for x in g.request("GET", "/metrics", port=g.admin).body.decode().splitlines() if x.startswith("signalbox_judge_total")]
        whole = json.loads(g.chat("mocked one", tokens).body)["choices"][0]["message"]["content"]
        assert last_answer(1) == whole and whole
        r = g.chat("mocked two", tokens, stream=True)
        assert last_answer(2) == streamed(r) and streamed(r)
        question, n = [{"role": "user", "content": "alien case:text"}], 2       # one question, or the answer would be a constant one
        for stream in (False, True):
            assert g.chat(messages=question, stream=stream, max_tokens=99).status == 200                    # translated
            assert g.request("POST", "/v1/messages", {"model": "auto", "max_tokens": 99, "stream": stream, "messages": question}).status == 200    # passes
            assert g.request("POST", "/v1/responses", {"model": "auto", "max_output_tokens": 99, "stream": stream, "input": question}).status == 200
            n += 3
            after(g, n)
        assert [x for x in answers()[2:]] == [provider.CASES["text"].text] * 6, answers()
        long = json.loads(g.chat("mocked long", {"x-mock-body-bytes": "100000"}).body)["choices"][0]["message"]["content"]
        shown = last_answer(9)
        assert long.startswith(shown) and len(shown) == 12288 and "too long to be shown" in judge.bodies[-1]["messages"][1]["content"]
    finally:
        g.stop()


@test
def a_judge_may_be_anybodys_model():
    at = "http://127.0.0.1:%d" % foreign_port
    refs = {"responses": "provider: openai", "anthropic": "provider: anthropic", "gemini": "provider: gemini", "bedrock": "provider: bedrock, region: us-east-1", "openai": "provider: openai"}
    for form, ref in refs.items():
        text = CONFIG % dict(model=model.port, judge=1, mock=mock.port, foreign=foreign_port, state=os.path.join(folder.name, "any-" + form), judging="sample: 1", log="off")
        base = at + "/v1" if form in ("responses", "openai") else at
        text = text.replace('- {name: grader, ', '- {name: grader, api_format: %s, ' % form).replace('{endpoint: "127.0.0.1:1"}]}\n    - {name: broken', '{base_url: "%s", %s, api_key: k}]}\n    - {name: broken' % (base, ref))
        assert ref in text
        g = Gateway(text, env={"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"})
        try:
            assert g.chat("in any words").status == 200
            after(g, 1)                         # it was asked and has answered: with a greeting, which is no mark
            assert counted(g, "failed", "odd-answer") == 1, [x for x in g.request("GET", "/metrics", port=g.admin).body.decode().splitlines() if "signalbox_judge" in x]
        finally:
            g.stop()


@test
def failures_tool_calls_and_broken_streams_are_not_judged():
    g = gateway("d")
    n = len(judge.bodies)
    try:
        assert g.chat("breakage").status >= 500
        after(g, 1)
        assert counted(g, "skipped", "failed") == 1
        g.chat("mocked", {"x-mock-tool-calls": "1"}, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
        after(g, 2)
        assert counted(g, "skipped", "tools") == 1
        g.chat("mocked", {"x-mock-tokens": "50", "x-mock-close-at-byte": "b600"}, stream=True)
        after(g, 3)
        assert counted(g, "skipped", "failed") == 2
        g.chat("mocked", {"x-mock-tokens": "50"}, messages=[{"role": "user", "content": [
            {"type": "text", "text": "mocked"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}])
        after(g, 4)
        assert counted(g, "skipped", "images") == 1
        says["judge"] = "5"
        assert g.chat("tell of yourself").status == 200         # the judge answered it
        after(g, 5)
        assert counted(g, "skipped", "itself") == 1 and len(judge.bodies) == n + 1, len(judge.bodies) - n
        assert g.chat("by name", model="small").status == 200     # nobody chose: nothing to learn
        assert all_counted(g) == 5
    finally:
        g.stop()


@test
def odd_marks_are_no_marks():
    g = gateway("e", "sample: 1, timeout_seconds: 2")
    try:
        for i, (told, reason) in enumerate([("I like it", "odd-answer"), ("11", "out-of-range"), ('{"score": "9"}', "odd-answer"), (" ", "empty"), ((503, "x"), "status"), (0, "unreachable"), (9, "timeout")]):
            says["judge"] = told
            r = g.chat("odd %d" % i)
            assert r.status == 200
            after(g, i + 1)
            assert counted(g, "failed", reason) >= 1, (told, reason)
            assert said(g, r) == {}
    finally:
        g.stop()


@test
def nobody_waits_for_the_judge_and_the_queue_is_bounded():
    gate = threading.Event()
    says["judge"] = lambda body: (gate.wait(20), "5")[1]
    g = gateway("f", "sample: 1, max_in_flight: 2")
    n = len(judge.bodies)
    try:
        for i in range(2 + 64 + 10):            # while the judge is silent, all are answered
            assert g.chat("while it thinks %d" % i).status == 200
        wait_for(lambda: counted(g, "dropped", "queue") == 10, message="the queue to be full")
        assert len(judge.bodies) - n == 2
        gate.set()
        after(g, 76)
        assert counted(g, "judged") == 66
    finally:
        gate.set()
        g.stop()


@test
def one_answer_for_everything_earns_nothing():
    says["judge"] = "10"
    says["answer"] = "As the best assistant there is I have only this one answer, and it fits whatever you ask."
    g = gateway("g")
    try:
        seen = []
        for i in range(4):
            seen.append(g.chat("a question of its own: %d" % i, messages=[{"role": "user", "content": "a question of its own: %d" % i}]))
            after(g, i + 1)
        by = [r.getheader("x-vsr-selected-model") for r in seen]
        for m in set(by):
            if by.count(m) >= 3:
                assert [said(g, r) for r, b in zip(seen, by) if b == m][:3] == [{}, {}, {}], by
        more = 4
        while max(by.count("small"), by.count("big")) < 3:
            seen.append(g.chat("a question of its own: %d" % more))
            more += 1
            after(g, more)
            by.append(seen[-1].getheader("x-vsr-selected-model"))
        m = "small" if by.count("small") >= 3 else "big"
        assert [said(g, r) for r, b in zip(seen, by) if b == m] == [{}] * by.count(m)
        assert counted(g, "skipped", "constant") >= 1 and "judge_constant" in g.output()
    finally:
        says["answer"] = None
        g.stop()


@test
def the_error_is_measured_against_the_operator_and_lowers_the_weight():
    says["judge"] = "9"                         # whatever it sees
    g = gateway("h")
    try:
        assert show(g)["judge"]["weight"] == .36 and show(g)["judge"]["error"] is None
        seen = [g.chat("measure %d" % i) for i in range(40)]
        after(g, 40)
        g.request("POST", "/api/v1/outcomes", {"outcomes": [{"request_id": r.getheader("x-request-id"), "reward": i % 2} for i, r in enumerate(seen)]}, port=g.admin)
        got = show(g)["judge"]
        assert (got["pairs"], got["right"], got["too_kind"], got["too_harsh"], got["error"]) == (40, 20, 20, 0, .5), got
        assert .33 < got["error_low"] < .35 and .65 < got["error_high"] < .67 and "0.2 or more" in got["note"], got
        r = g.chat("after the measure")
        after(g, 41)
        assert abs(said(g, r)["judge"]["weight"] - got["weight"]) < 1e-6 and got["weight"] < .05
    finally:
        g.stop()
    g = gateway("h")
    try:
        assert show(g)["judge"] == got
    finally:
        g.stop()
    g = gateway("h", "sample: 1, instructions: other ones")       # another judge: nothing is known of it
    try:
        assert show(g)["judge"]["pairs"] == 0
    finally:
        g.stop()


@test
def its_budget_is_never_overrun():
    says["judge"] = "5"
    # An answer of 512 tokens may cost 0.0512 USD beside some 250 tokens in; what it does cost is 0.002.
    g = gateway("i", "sample: 1, budget_usd: 0.06")
    try:
        for i in range(12):
            assert g.chat("spend %d" % i).status == 200
            after(g, i + 1)
        assert g.metric("llm_model_cost_total", model="grader") <= .06
        assert counted(g, "judged") >= 1 and counted(g, "dropped", "budget") >= 1
    finally:
        g.stop()
    g = gateway("j", "sample: 1, calls_per_hour: 3")
    try:
        for i in range(5):
            assert g.chat("count %d" % i).status == 200
            after(g, i + 1)
        assert (counted(g, "judged"), counted(g, "dropped", "budget")) == (3, 2)
    finally:
        g.stop()


@test
def only_the_listed_decisions_are_judged_and_a_reload_ends_it():
    says["judge"] = "5"
    g = gateway("k", "sample: 1, decisions: [mocked]")
    try:
        g.chat("mocked")
        g.chat("not listed")
        after(g, 1)
        assert all_counted(g) == 1 and counted(g, "judged") == 1
        with open(g.path) as f:
            text = f.read()
        reloads = g.metric("signalbox_config_reloads_total")
        g.write(text.replace("judge: {", "# judge: {"))
        wait_for(lambda: g.metric("signalbox_config_reloads_total") > reloads, message="the reload")

        def is_off():
            n = all_counted(g)
            assert g.chat("mocked").status == 200
            return all_counted(g) == n
        wait_for(is_off, message="the judge to be gone")
    finally:
        g.stop()


@test
def mistakes_are_found_by_check():
    path = os.path.join(folder.name, "bad.yaml")
    for judging, what in [("model: grader, sample: 1", None), ("model: nobody", "'nobody' cannot be asked"), ("sample: 2", "sample"), ("sample: 0.1", "`model` is missing"), ("model: grader, decisions: [none]", "there is no decision 'none'"), ("model: grader, max_in_flight: 0", "max_in_flight"), ("model: small, sample: 1", "has no prices"), ("model: grader, sampel: 1", "did you mean `sample`")]:
        text = CONFIG % dict(model=1, judge=1, mock=1, foreign=1, state=folder.name, judging="@", log="off")
        with open(path, "w") as f:
            f.write(re.sub(r"judge: \{.*\}", "judge: {%s}" % judging, text))
        r = subprocess.run([SIGNALBOX, "check", path], capture_output=True, text=True)
        told = r.stdout + r.stderr
        if what is None:
            assert "judge" not in told, told
        else:
            assert what in told and "judge" in told, (judging, told)


if __name__ == "__main__":
    try:
        main()
    finally:
        for x in (model, judge, mock, foreign):
            x.stop()
        folder.cleanup()
