#!/usr/bin/env python3
"""Selection on recorded outcomes from the command line: judge, train, choose what to keep, serve the table."""
import json, random, subprocess, tempfile

from harness import *

folder = tempfile.TemporaryDirectory(prefix="selection-")
outcomes = os.path.join(folder.name, "outcomes")
KINDS = {"code": ["python", "loop", "array", "bug"], "law": ["court", "tort", "judge", "lease"]}
SKILL = {"coder": (.9, .2), "lawyer": (.2, .9), "broad": (.7, .7), "tiny": (.4, .4)}
COST = {"coder": .001, "lawyer": .002, "broad": .004, "tiny": .0001}
SIZE = {"coder": 30, "lawyer": 30, "broad": 60, "tiny": 5}


def write(name, text, where=folder.name):
    with open(os.path.join(where, name), "w") as f:
        f.write(text)
    return os.path.join(where, name)


def record():
    rng = random.Random(1)
    rows = [(i, kind, " ".join(rng.choice(words) + str(rng.randrange(9)) + " " + rng.choice(words) for _ in range(4)))
            for i in range(300) for kind, words in [list(KINDS.items())[i % 2]]]
    os.mkdir(outcomes)
    write("queries.jsonl", "".join(json.dumps({"qid": "q%d" % i, "task": kind, "text": text}) + "\n" for i, kind, text in rows), outcomes)
    head = "qid,task,%s\n" % ",".join(SKILL)
    write("scores.csv", head + "".join("q%d,%s,%s\n" % (i, kind, ",".join(
        str(int(rng.random() < skill[i % 2])) for skill in SKILL.values())) for i, kind, _ in rows), outcomes)
    write("costs.csv", head + "".join("q%d,%s,%s\n" % (i, kind, ",".join(str(c) for c in COST.values())) for i, kind, _ in rows), outcomes)
    write("sizes.csv", "model,size\n" + "".join("%s,%d\n" % x for x in SIZE.items()))


def signalbox(*words, code=0):
    r = subprocess.run([SIGNALBOX, *words], capture_output=True, text=True, cwd=folder.name)
    assert r.returncode == code, (words, r.returncode, r.stdout, r.stderr)
    return r


def judged(*words):
    return json.loads(signalbox("evaluate", "selection", outcomes, "--json", *words).stdout)["policies"]


@test
def policies_of_the_literature_are_judged_on_the_same_folds():
    record()
    p = judged("--policies", "mean,table,pilots,pilots_mean,gates")
    assert p["table"]["score"] > p["mean"]["score"] + .1, p["table"]
    assert p["gates"]["score"] > p["mean"]["score"], p["gates"]
    assert all(0 < p[x]["aiq"] < 1 for x in ("pilots", "pilots_mean", "gates")), p


@test
def a_cascade_is_worth_what_its_judge_is():
    sure, poor = judged("--policies", "learned,cascade,chain"), judged("--policies", "cascade,chain", "--judge-error", "0.3")
    assert sure["cascade"]["score"] > sure["learned"]["score"] + .03, sure["cascade"]
    assert sure["cascade"]["score"] > poor["cascade"]["score"] and sure["chain"]["score"] > poor["chain"]["score"]
    same = judged("--policies", "cascade", "--judge-error", "0.3", "--judge-repeats")["cascade"]
    assert same["score"] < poor["cascade"]["score"], same
    dear = judged("--policies", "cascade", "--judge-cost", "0.01")["cascade"]
    assert dear["aiq"] < sure["cascade"]["aiq"], dear
    assert "--judge-error" in signalbox("evaluate", "selection", outcomes, "--judge-error", "0.7", code=2).stderr


@test
def what_is_no_file_is_written_to_and_not_replaced():
    pipe = os.path.join(folder.name, "pipe")
    os.mkfifo(pipe)
    writer = subprocess.Popen([SIGNALBOX, "train", "selector", outcomes, "--out", pipe], stdout=subprocess.DEVNULL)
    try:
        with open(pipe, "rb") as f:
            assert f.read().startswith(b"sbx-sel")
        assert writer.wait(20 * SLOW) == 0
    finally:
        writer.kill()
        writer.wait()
    assert not os.path.isfile(pipe) and os.path.exists(pipe)


@test
def a_full_disk_is_a_failure_that_is_told_once():
    for words in (["probe", outcomes], ["probe", outcomes, "--json"], ["evaluate", "selection", outcomes, "--policies", "table"],
                  ["help"], ["config", "reference"]):
        with open("/dev/full", "w") as full:
            r = subprocess.run([SIGNALBOX, *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=folder.name)
        assert r.returncode == 2 and r.stderr.count("cannot write") == 1, (words, r)


@test
def compose_keeps_what_fits_and_writes_a_table_of_it():
    def kept(budget, *more):
        return json.loads(signalbox("compose", outcomes, "--sizes", "sizes.csv", "--budget", budget, "--json", *more).stdout)
    both = kept("65", "--out", "kept.sbx", "--uncertain", "0.5")
    assert both["models"] == ["coder", "lawyer"] and both["map"] == {"code": "coder", "law": "lawyer"} and both["is_exact"], both
    assert both["judged"]["served"]["gain"] > 2 * both["judged"]["served"]["gain_standard_error"], both
    assert 0 <= both["uncertain_share"] < .2 and both["judged"]["labelled"]["score"] > .8, both
    assert kept("9")["models"] == ["tiny"]
    assert kept("200", "--price", "1000")["models"] == ["tiny"]
    text = signalbox("compose", outcomes, "--sizes", "sizes.csv", "--budget", "65").stdout
    assert "code -> coder" in text and "no choice is better" in text, text
    assert "no model fits" in signalbox("compose", outcomes, "--sizes", "sizes.csv", "--budget", "1", code=2).stderr
    assert "bad.csv:2" in signalbox("compose", outcomes, "--sizes", write("bad.csv", "model,size\ncoder,big\n"), "--budget", "9", code=2).stderr
    assert "nobody" in signalbox("compose", outcomes, "--sizes", "sizes.csv", "--budget", "65", "--general", "nobody", code=2).stderr


@test
def a_new_model_is_asked_what_tells_most_and_joins_the_table():
    """`fresh` is always right on law, where the others are not good. probe, fill in, probe again, train."""
    where = os.path.join(folder.name, "growing")
    os.mkdir(where)
    for name in ("queries.jsonl", "scores.csv"):
        with open(os.path.join(outcomes, name)) as f:
            write(name, f.read(), where)
    with open(os.path.join(where, "scores.csv")) as f:
        rows = [[x for i, x in enumerate(line.split(",")) if i != 3] for line in f.read().split()]     # without the lawyer
    write("scores.csv", "\n".join(map(",".join, rows)) + "\n", where)
    answered = {}

    def probe(*more, code=0):
        return signalbox("probe", "growing", "--model", "fresh", *more, code=code)

    def fill():
        write("scores.csv", "\n".join(",".join(row + ["fresh" if row[0] == "qid" else str(answered.get(row[0], ""))]) for row in rows) + "\n", where)
    shares = []
    for _ in range(3):
        told = json.loads(probe("--count", "15", "--json", "--out", "ask.jsonl").stdout)
        with open(os.path.join(folder.name, "ask.jsonl")) as f:
            lines = [json.loads(line) for line in f]
        assert lines == told["prompts"] and len(lines) == 15 and told["known"] == len(answered), told
        assert not {x["qid"] for x in lines} & set(answered), lines
        assert {x["task"] for i, x in enumerate(lines) if i % 3 < 2} == ({"law"} if answered else {"code", "law"}), lines     # code is lost by then
        shares.append(told["share"])
        for x in lines:
            assert x["text"] and 0 <= x["share"] <= 1
            answered[x["qid"]] = int(x["task"] == "law")
        fill()
    law = next(k for k in json.loads(probe("--json").stdout)["kinds"] if k["kind"] == "law")
    assert law["expected"] > law["best_other"] and shares[0] > .5 > law["deviation"], (law, shares)
    text = probe("--count", "3").stdout
    assert "3 of 300 prompts; 45 outcomes of fresh are known" in text and "train selector growing --newcomer fresh" in text, text

    signalbox("train", "selector", "growing", "--newcomer", "fresh", "--out", "grown.sbx", "--policy", "table")
    write("g.yaml", """providers:
  models: [{name: fresh, backend_refs: [{endpoint: "127.0.0.1:9"}]}, {name: coder, backend_refs: [{endpoint: "127.0.0.1:9"}]}, {name: broad, backend_refs: [{endpoint: "127.0.0.1:9"}]}]
routing:
  modelCards: [{name: fresh}, {name: coder}, {name: broad}]
  decisions:
    - name: all
      modelRefs: [{model: coder}, {model: fresh}, {model: broad}]
      algorithm: {type: learned, learned: {table: grown.sbx}}
""")
    for ask, want in (("court7 tort judge3 lease", "fresh"), ("python1 loop array2 bug", "coder")):
        assert json.loads(signalbox("route", "-c", "g.yaml", "--json", ask).stdout)["selected_model"] == want, ask

    assert "fresher" in signalbox("train", "selector", "growing", "--newcomer", "fresher", "--out", "x.sbx", code=2).stderr
    assert "nothing is left to ask" in signalbox("probe", "growing", "--model", "coder", code=2).stderr
    assert "--count" in probe("--count", "0", code=2).stderr and "DIR" in signalbox("probe", code=2).stderr


@test
def what_a_newcomer_is_worth_is_told_by_stage():
    """The best model is right more often on both kinds; nobody else comes near."""
    where, rng = os.path.join(folder.name, "unequal"), random.Random(2)
    os.mkdir(where)
    with open(os.path.join(outcomes, "queries.jsonl")) as f:
        write("queries.jsonl", f.read(), where)
    write("scores.csv", "qid,task,best,coder,tiny,poor\n" + "".join("q%d,%s,%s\n" % (i, list(KINDS)[i % 2], ",".join(
        str(int(rng.random() < skill)) for skill in (.95, (.8, .4)[i % 2], .5, .4))) for i in range(300)), where)
    for more in ((), ("--probes", "random")):
        stages = json.loads(signalbox("evaluate", "newcomer", where, "--json", *more).stdout)
        assert [s["outcomes"] for s in stages] == [0, 10, 30, 100, 300, None] and stages[0]["difference"] == 0, stages
        gains = [s["difference"] for s in stages]
        assert min(gains) >= 0 and gains[3] > .8 * gains[-1] > .1, gains
    assert "active or random" in signalbox("evaluate", "newcomer", outcomes, "--probes", "guessed", code=2).stderr


@test
def tables_of_every_kind_are_served():
    for policy in ("pilots", "gates"):
        signalbox("train", "selector", outcomes, "--out", policy + ".sbx", "--policy", policy)
    for table, want in (("kept", "lawyer"), ("gates", "lawyer"), ("pilots", None)):
        write("c.yaml", """providers:
  models: [{name: coder, backend_refs: [{endpoint: "127.0.0.1:9"}]}, {name: lawyer, backend_refs: [{endpoint: "127.0.0.1:9"}]}]
routing:
  modelCards: [{name: coder}, {name: lawyer}]
  decisions:
    - name: all
      modelRefs: [{model: coder}, {model: lawyer}]
      algorithm: {type: learned, learned: {table: %s.sbx%s}}
""" % (table, ", uncertain: {to: coder}" if table == "kept" else ""))
        r = json.loads(signalbox("route", "-c", "c.yaml", "--json", "the judge of the court says tort, and the lease").stdout)
        assert r["selection_method"] == "learned" and (want is None or r["selected_model"] == want), r
    write("u.yaml", open(os.path.join(folder.name, "c.yaml")).read().replace("pilots.sbx", "kept.sbx, uncertain: {threshold: 0.3, to: lawyer}"))
    for text, reason in (("a loop of python, the judge of the court", "uncertain"), ("python1 loop array2 bug", "learned")):
        r = json.loads(signalbox("route", "-c", "u.yaml", "--json", text).stdout)
        assert r["selection_reason"] == reason, r
    folder.cleanup()


if __name__ == "__main__":
    main()
