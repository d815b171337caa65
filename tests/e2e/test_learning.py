#!/usr/bin/env python3
"""Learning from outcomes through the doors: what is posted moves choices, survives kill -9, is explained, exported and merged."""
import json, random

from harness import *

mock = Mock()
CONFIG = """version: v0.3
providers:
  defaults: {default_model: small}
  models:
    - {name: small, pricing: {prompt_per_1m: 1, completion_per_1m: 2}, backend_refs: [{endpoint: "127.0.0.1:%(port)d"}]}
    - {name: big, pricing: {prompt_per_1m: 10, completion_per_1m: 30, cached_input_per_1m: 1}, backend_refs: [{endpoint: "127.0.0.1:%(port)d"}]}
    - {name: broken, backend_refs: [{endpoint: "127.0.0.1:1"}]}
routing:
  modelCards: [{name: small, quality_score: 0.6}, {name: big, quality_score: 0.6}, {name: broken, quality_score: 0.6}]
  signals:
    keywords: [{name: fail, operator: OR, keywords: ["breakage"]}, {name: quiet, operator: OR, keywords: ["observed"]}]
  decisions:
    - {name: failing, priority: 30, rules: {type: keyword, name: fail}, modelRefs: [{model: broken}, {model: small}]}
    - {name: watched, priority: 20, rules: {type: keyword, name: quiet}, modelRefs: [{model: small}, {model: big}], adaptations: {mode: observe}}
    - {name: all, priority: 1, modelRefs: [{model: small}, {model: big}]}
global:
  router:
    learning:
      enabled: true
      state_dir: %(state)s
      checkpoint: 1s
      adaptation: {exploration: %(exploration)s, exploration_floor: %(floor)s%(more)s}
      protection: {tuning: {switch_margin: 0.05}}
  services:
    observability: {access_log: "%(log)s", access_log_capture: true}
"""
folder = tempfile.TemporaryDirectory()


def text(state, log, exploration="0.5", floor="0.05", more=""):
    return CONFIG % dict(port=mock.port, more=more, state=os.path.join(folder.name, state), log=os.path.join(folder.name, log), exploration=exploration, floor=floor)


def model_of(r):
    return r.getheader("x-vsr-selected-model")


def id_of(r):
    return r.getheader("x-request-id")


def outcome(g, body, path="/api/v1/outcomes"):
    r = g.request("POST", path, body, port=g.admin)
    r.json = json.loads(r.body)
    return r


def lines(log):
    with open(os.path.join(folder.name, log)) as f:
        return [json.loads(x) for x in f]


def cells(export):
    return {(export["models"][c[0]]["name"], c[1]): c[2:] for c in export["cells"]}


def sums(export):
    """All that the strategies know, by the names of models: a restart may number them anew."""
    name = lambda i: export["models"][i]["name"]
    return (cells(export), {name(arm[0]): arm[1:] for arm in export["linear"]},
            {pot[0]: (pot[1], {name(m[0]): m[1:] for m in pot[2]}) for pot in export["shares"]})


def train(g, n=80, good="small"):
    seen = []
    for i in range(n):
        r = g.chat("question %d" % i)
        assert r.status == 200, r.body
        seen.append((id_of(r), model_of(r)))
        a = outcome(g, {"request_id": id_of(r), "reward": 1 if model_of(r) == good else 0})
        assert a.status == 200 and a.json["recorded"] == 1, a.body
    return seen


@test
def outcomes_move_choices_and_every_decision_replays():
    g = Gateway(text("s1", "l1"))
    try:
        seen = train(g, 120, "big")
        late = [m for _, m in seen[60:]]
        assert late.count("big") > 50, late
        g.request("GET", "/api/v1/learning", port=g.admin)
    finally:
        g.stop()
    log = [x for x in lines("l1") if x.get("decision") == "all"]
    assert len(log) == 120
    for x in log:
        arms = x["selection"]["arms"]
        assert abs(sum(a["chance"] for a in arms) - 1) < 1e-9
        assert abs(x["propensity"] - next(a["chance"] for a in arms if a["model"] == x["model"])) < 1e-6
    r = subprocess.run([SIGNALBOX, "explain", "--verify", "--json", "--log", os.path.join(folder.name, "l1")], capture_output=True, text=True)
    got = json.loads(r.stdout)
    assert r.returncode == 0 and got["learned"] == got["replayed"] == 120, r.stdout
    r = subprocess.run([SIGNALBOX, "explain", seen[-1][0], "--log", os.path.join(folder.name, "l1")], capture_output=True, text=True)
    assert r.returncode == 0 and "chosen" in r.stdout and "Runner-up" in r.stdout and "lands the same" in r.stdout, r.stdout + r.stderr
    r = subprocess.run([SIGNALBOX, "explain", "no-such-request", "--log", os.path.join(folder.name, "l1")], capture_output=True, text=True)
    assert r.returncode == 1


@test
def choices_replay_where_backends_are_drawn_by_lot():
    two = '[{endpoint: "127.0.0.1:%d", name: one}, {endpoint: "127.0.0.1:%d", name: two}]' % (mock.port, mock.port)
    drawn = re.sub(r"name: (small|big), (.*)backend_refs: .*\}$", r"name: \1, reliability: {lb_policy: random}, \2backend_refs: %s}" % two, text("s0", "l0"), flags=re.M)
    assert drawn.count("lb_policy") == 2
    g = Gateway(drawn)
    try:
        train(g, 20, "big")
    finally:
        g.stop()
    r = subprocess.run([SIGNALBOX, "explain", "--verify", "--json", "--log", os.path.join(folder.name, "l0")], capture_output=True, text=True)
    got = json.loads(r.stdout)
    assert r.returncode == 0 and got["learned"] == got["replayed"] == 20, r.stdout


def every_strategy_moves_choices_replays_and_survives_kill_9():
    for strategy in ("linucb", "fixed_share"):
        more, log = ", strategy: %s, rate: 0.3, screen_top: 2" % strategy, "l-" + strategy
        g = Gateway(text("s-" + strategy, log, more=more))
        try:
            seen = train(g, 120, "big")
            assert [m for _, m in seen[80:]].count("big") > 25, (strategy, seen[60:])
            before = json.loads(g.request("GET", "/api/v1/learning/export", port=g.admin).body)
        finally:
            g.p.kill()
            g.p.wait(10)
            g.stop()
        r = subprocess.run([SIGNALBOX, "explain", "--verify", "--json", "--log", os.path.join(folder.name, log)], capture_output=True, text=True)
        got = json.loads(r.stdout)
        assert r.returncode == 0 and got["learned"] == got["replayed"] > 60, r.stdout        # the log's last lines died with it
        g = Gateway(text("s-" + strategy, log + "b", more=", strategy: thompson, rate: 0.3"))   # another strategy: nothing is lost
        try:
            assert id_of(g.chat("the first request opens the state"))
            after = json.loads(g.request("GET", "/api/v1/learning/export", port=g.admin).body)
            assert sums(after) == sums(before), (sums(after), sums(before))
        finally:
            g.stop()
    path = os.path.join(folder.name, "guess.yaml")
    with open(path, "w") as f:
        f.write(text("s", "l", more=", strategy: guess"))
    r = subprocess.run([SIGNALBOX, "check", "-c", path], capture_output=True, text=True)
    assert r.returncode != 0 and "strategy" in r.stdout + r.stderr and "linucb" in r.stdout + r.stderr, r.stdout + r.stderr


@test
def an_outcome_counts_once_can_be_corrected_and_taken_back():
    g = Gateway(text("s2", "l2"))
    try:
        a = id_of(g.chat("one"))
        assert outcome(g, {"request_id": a, "reward": 1}).json["recorded"] == 1
        assert outcome(g, {"request_id": a, "reward": 1}).json["duplicate"] == 1
        assert outcome(g, {"request_id": a, "reward": 0}).json["corrected"] == 1
        got = json.loads(g.request("GET", "/api/v1/outcomes/" + a, port=g.admin).body)
        assert got["said"] == {"operator": {"reward": 0, "weight": 1}}, got
        assert outcome(g, {"request_id": a, "reward": 1, "source": "implicit"}).json["recorded"] == 1       # kept, but the operator counts
        assert outcome(g, {"request_id": a, "retract": True}).json["corrected"] + 1 > 0
        assert outcome(g, {"request_id": "nobody", "reward": 1}).status == 404
        for bad in ({"request_id": a, "reward": 2}, {"request_id": a}, {"reward": 1}, {"request_id": a, "reward": 1, "source": "me"},
                    {"request_id": a, "verdict": "fine"}, {"request_id": a, "reward": 1, "weight": -1}):
            assert outcome(g, bad).status == 400, bad
        b = id_of(g.chat("two"))
        many = outcome(g, {"outcomes": [{"request_id": b, "verdict": "underpowered"}, {"request_id": "nobody", "reward": 1}, 5]})
        assert many.status == 200 and (many.json["recorded"], many.json["unknown"], many.json["refused"]) == (1, 1, 1)
        c = id_of(g.chat("three"))
        assert outcome(g, {"replay_id": c, "target": "model", "verdict": "good_fit"}, "/v1/router/outcomes").json["recorded"] == 1
        assert g.request("POST", "/api/v1/outcomes", "nonsense", port=g.admin).status == 400
    finally:
        g.stop()


@test
def what_was_acknowledged_survives_kill_9():
    g = Gateway(text("s3", "l3"))
    try:
        seen = train(g, 60, "small")
        before = json.loads(g.request("GET", "/api/v1/learning/export", port=g.admin).body)
    finally:
        g.p.kill()
        g.p.wait(10)
        g.stop()
    g = Gateway(text("s3", "l3b"))
    try:
        assert id_of(g.chat("the first request opens the state"))
        after = json.loads(g.request("GET", "/api/v1/learning/export", port=g.admin).body)
        assert cells(after) == cells(before)
        assert outcome(g, {"request_id": seen[3][0], "reward": 1 if seen[3][1] == "small" else 0}).json["duplicate"] == 1
    finally:
        g.stop()


@test
def a_reload_forgets_nothing():
    g = Gateway(text("s4", "l4"))
    try:
        train(g, 30, "small")
        before = json.loads(g.request("GET", "/api/v1/learning", port=g.admin).body)
        g.write(text("s4", "l4", exploration="0.1"))
        os.kill(g.p.pid, signal.SIGHUP)
        time.sleep(0.5)
        g.chat("after")
        after = json.loads(g.request("GET", "/api/v1/learning", port=g.admin).body)
        assert {m["name"]: m["outcomes"] for m in before["models"]} == {m["name"]: m["outcomes"] for m in after["models"]}
    finally:
        g.stop()


@test
def two_instances_add_up():
    one, two = Gateway(text("s5", "l5")), Gateway(text("s6", "l6"))
    try:
        train(one, 30, "small"), train(two, 30, "small")
        sent = one.request("GET", "/api/v1/learning/export", port=one.admin).body
        r = two.request("POST", "/api/v1/learning/merge", sent, port=two.admin)
        assert r.status == 200 and json.loads(r.body)["result"] == "merged", r.body
        r = two.request("POST", "/api/v1/learning/merge", sent, port=two.admin)
        assert json.loads(r.body)["result"] == "older_than_held"
        assert one.request("POST", "/api/v1/learning/merge", sent, port=one.admin).status == 400     # its own
        assert two.request("POST", "/api/v1/learning/merge", "{}", port=two.admin).status == 400
        assert len(json.loads(two.request("GET", "/api/v1/learning", port=two.admin).body)["peers"]) == 1
    finally:
        one.stop(), two.stop()


@test
def a_failover_is_learned_from_without_being_told():
    g = Gateway(text("s7", "l7", exploration="0", floor="0"))
    try:
        for i in range(12):
            assert g.chat("breakage %d" % i).status in (200, 502, 503)
        models = {m["name"]: m for m in json.loads(g.request("GET", "/api/v1/learning", port=g.admin).body)["models"]}
        assert models["broken"]["outcomes"] >= 1 and models["broken"]["mean_reward"] == 0, models
        assert model_of(g.chat("breakage again")) == "small"
    finally:
        g.stop()


@test
def a_conversation_stays_where_it_is_and_observe_changes_nothing():
    g = Gateway(text("s8", "l8", exploration="1", floor="0.5"))
    try:
        head = {"x-session-id": "s", "x-conversation-id": "c"}
        models = {model_of(g.chat("turn %d of it" % i, headers=head)) for i in range(12)}
        assert len(models) == 1, models
        models = {model_of(g.chat("observed %d" % i)) for i in range(12)}
        assert models == {"small"}, models
    finally:
        g.stop()
    log = lines("l8")
    assert sum(x["selection"].get("session") in ("same", "held", "too_soon") for x in log) >= 10
    assert all(x["selection"]["action"] == "observe" for x in log if x["decision"] == "watched")


@test
def a_budget_is_kept_to_the_last_cent():
    budget = 0.004
    g = Gateway(text("s10", "l10").replace("      state_dir:", "      pacing: {budget_usd: %g, window: 720h, max_output_tokens: 40}\n      state_dir:" % budget))
    try:
        status = [g.chat("question %d" % i, max_tokens=32, metadata={"mock": {"usage": "40,30"}}).status for i in range(160)]
    finally:
        g.stop()
    spent = sum(x.get("cost", 0) for x in lines("l10"))
    assert set(status) <= {200, 429} and status[0] == 200, status
    assert spent <= budget, spent
    if 429 in status:
        assert spent > 0.8 * budget, spent


PRICES = {"small": (1e-6, 2e-6), "big": (10e-6, 30e-6)}


def paid(answers):
    sums = 0
    for r in answers:
        if r.status == 200:
            used = json.loads(r.body)["usage"]
            sums += used["prompt_tokens"] * PRICES[model_of(r)][0] + used["completion_tokens"] * PRICES[model_of(r)][1]
    return sums


def spend(g, n, **more):
    return [g.chat("question %d" % i, max_tokens=32, **more) for i in range(n)]


@test
def a_purse_comes_back_as_empty_as_it_was_killed():
    budget = 0.004
    config = text("s11", "l11").replace("      state_dir:", "      pacing: {budget_usd: %g, window: 720h, max_output_tokens: 40}\n      state_dir:" % budget)
    answers, refused = [], 0
    for round in range(4):
        g = Gateway(config)
        try:
            answers += spend(g, 45)
        finally:
            g.p.kill()
            g.p.wait(10)
            g.stop()
    assert 0.5 * budget < paid(answers) <= budget, paid(answers)
    assert any(r.status == 429 for r in answers)


@test
def each_key_has_a_purse_of_its_own():
    budget = 0.002
    config = text("s12", "l12").replace("      state_dir:", "      pacing: {budget_usd: %g, window: 720h, max_output_tokens: 40, per: key}\n      state_dir:" % budget)
    g = Gateway(config + "  identity: {keys: [{id: ann, secret: s1}, {id: bob, secret: s2}]}\n")
    try:
        ann = spend(g, 120, headers={"x-api-key": "sbx-ann-s1"})
        bob = spend(g, 120, headers={"x-api-key": "sbx-bob-s2"})
    finally:
        g.stop()
    for answers in (ann, bob):
        assert answers[0].status == 200 and 0.5 * budget < paid(answers) <= budget, paid(answers)
    r = subprocess.run([SIGNALBOX, "check", "-"], input=config.replace("per: key", "per: planet"), capture_output=True, text=True)
    assert r.returncode != 0 and "per" in r.stdout + r.stderr, r.stdout + r.stderr


@test
def strategies_are_compared_on_the_same_streams():
    """Three models, two kinds of text; `best` is right more often, and with --newcomer nobody has told of it."""
    chance, rows = random.Random(4), [("sum", "add the numbers %d and %d"), ("poem", "a poem about stone %d and river %d")]
    where = os.path.join(folder.name, "set")
    os.mkdir(where)
    with open(os.path.join(where, "queries.jsonl"), "w") as q, open(os.path.join(where, "scores.csv"), "w") as s:
        s.write("qid,task,best,good,poor\n")
        for i in range(600):
            kind, say = rows[i % 2]
            q.write(json.dumps({"qid": "%012x" % i, "task": kind, "text": say % (i, 7 * i)}) + "\n")
            s.write("%012x,%s,%d,%d,%d\n" % (i, kind, chance.random() < .8, chance.random() < .6, chance.random() < .2))
    def ask(*more):
        r = subprocess.run([SIGNALBOX, "evaluate", "online", where, "--warm", "100", "--runs", "3", "--json", *more], capture_output=True, text=True)
        assert r.returncode == 0, r.stderr
        return [json.loads(x) for x in r.stdout.splitlines()]
    same = ask("--strategy", "thompson,thompson")
    assert same[1]["whole_to_best_fixed_difference"] == {"mean": 0, "standard_error": 0, "least": 0}, same
    for more in ((), ("--newcomer",), ("--screen-top", "2")):
        strategies = "thompson,linucb" if more == ("--newcomer",) else "thompson,linucb,fixed_share"     # shares do not go looking
        for got in ask("--strategy", strategies, *more):
            assert got["whole_to_best_fixed"]["mean"] > -.1, (more, got)       # `good` alone is at -.2
    hidden, known = (ask(*more)[0]["whole_to_best_fixed"]["mean"] for more in (("--newcomer",), ()))
    assert hidden < known, (hidden, known)
    for bad in (("--strategy", "guess"), ("--strategy", ""), ("--screen-top", "17"), ("--rate", "2")):
        r = subprocess.run([SIGNALBOX, "evaluate", "online", where, *bad], capture_output=True, text=True)
        assert r.returncode == 2 and ("strategy" if bad[0] == "--strategy" else "number in range") in r.stderr, (bad, r.stderr)


@test
def another_policy_is_judged_from_the_log():
    g = Gateway(text("s9", "l9", exploration="1", floor="0.5"))
    rng = random.Random(1)
    try:
        outcomes = []
        for i in range(400):
            r = g.chat("question %d" % i)
            outcomes.append({"request_id": id_of(r), "reward": int(rng.random() < (0.8 if model_of(r) == "big" else 0.4))})
    finally:
        g.stop()
    path = os.path.join(folder.name, "outcomes.jsonl")
    with open(path, "w") as f:
        f.write("".join(json.dumps(x) + "\n" for x in outcomes))
    log = os.path.join(folder.name, "l9")

    def judge(policy, *more):
        r = subprocess.run([SIGNALBOX, "evaluate", "policy", "--policy", policy, "--outcomes", path, "--json", *more, log], capture_output=True, text=True)
        assert r.returncode in (0, 1), r.stderr
        return json.loads(r.stdout)

    big, small = judge("always:big"), judge("always:small")
    for got, truth in ((big, 0.8), (small, 0.4)):
        dr = got["quality"]["dr"]
        assert got["quality"]["refused"] is None and abs(dr["mean"] - truth) < 4 * dr["standard_error"] + 0.01, got
    assert big["gate"]["open"] and not small["gate"]["open"]
    assert judge("always:nobody")["quality"]["refused"]
    other = os.path.join(folder.name, "other.yaml")
    with open(other, "w") as f:
        f.write(text("", "l0").replace("enabled: true", "enabled: false").replace("[{model: small}, {model: big}]}\nglobal", "[{model: big}]}\nglobal"))
    by_config = judge(other)
    assert abs(by_config["quality"]["dr"]["mean"] - big["quality"]["dr"]["mean"]) < 0.02, by_config


@test
def the_provider_stops_cleanly():
    mock.stop()
    folder.cleanup()


if __name__ == "__main__":
    main()
