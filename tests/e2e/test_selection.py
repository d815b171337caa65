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
