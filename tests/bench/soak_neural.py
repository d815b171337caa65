#!/usr/bin/env python3
"""The neural path for as long as one likes, and whether memory and latency stay flat: `make bench-soak-neural`.

signals.yaml with every neural signal. Eight callers ask without a pause; four of five ask for all signals (`x-vsr-debug: true`), the fifth
leaves it to the policy. No text is sent twice; lengths are mixed, most short: 70 % of 8 to 64 tokens, 20 % to 500, 9 % to 2,000, 1 % to
4,000. One call in thirty is left after 1 to 20 ms. Meanwhile, every 12 seconds one of: the configuration is loaded again with other
examples; with another deadline for signals (3 ms, so that most are not answered in time; the next takes it back); a head's file is
replaced. Encoder threads are what an untouched configuration has.

Resident memory is read every second, latency of every answer kept, and the processor time that a thousand tokens take, which other work on
the machine changes less. Of each tenth of the run the medians are printed. Flat is: the line through the resident memory of the last eight
tenths (the caches are full by then) rises by less than 3 % and 4 MB over them; through p50 and processor time by less than 15 %. At the end
nothing may be left: open files as many as at the start and kept upstream connections, no token in the queue, no request.

    soak_neural.py [--minutes M] [--callers N]
"""
import argparse, collections, http.client, json, os, random, shutil, socket, statistics, threading, time

from rig import *
from signals import ALL_CORES, Prompts, metrics, ready_wait

EVENT_S, MEMORY_S = 12, 1
LENGTHS = ((.70, 8, 64), (.20, 64, 500), (.09, 500, 2000), (.01, 2000, 4000))
FLAT = {"memory": .03, "p50": .15, "cpu": .15}
WARM = 2                            # tenths that do not count
DEADLINE = "  limits: {encoder_threads: 0, encoder_cache_bytes: 4MiB, signals: %s}"       # a cache that is full within the first tenths


def home_make():
    """A SIGNALBOX_HOME whose heads are copies, to be replaced."""
    source = os.environ.get("SIGNALBOX_HOME") or ROOT
    home = os.path.join(OUT, "soak-home")
    shutil.rmtree(home, ignore_errors=True)
    os.makedirs(home)
    shutil.copytree(os.path.join(source, "heads"), os.path.join(home, "heads"))
    models = os.path.join(source, "models")
    for name, to in (("models", models if os.path.isdir(models) else os.path.join(BUILD, "deps/models")),
                     ("knowledge_bases", os.path.join(source, "knowledge_bases"))):
        os.symlink(os.path.abspath(to), os.path.join(home, name))
    os.environ["SIGNALBOX_HOME"] = home
    return home


def length(chance):
    at = chance.random()
    for share, low, high in LENGTHS:
        if at < share:
            return chance.randint(low, high)
        at -= share
    return LENGTHS[0][1]


class Caller(threading.Thread):
    def __init__(self, port, seed, state, sentences):
        super().__init__(daemon=True)
        self.port, self.seed, self.state, self.chance = port, seed, state, random.Random(seed)
        self.sentences = sentences
        self.statuses, self.left, self.n = collections.Counter(), 0, 0

    def text(self, tokens):
        """Sentences in an order of its own; the mark makes it one that nobody has sent."""
        out = ["(%d.%d)" % (self.seed, self.n)]
        while tokens > 0:
            sentence, its = self.chance.choice(self.sentences)
            out.append(sentence)
            tokens -= its
        return " ".join(out)

    def body(self):
        self.n += 1
        turns = [("user", self.text(length(self.chance)))]
        if self.chance.random() < .5:
            turns = [("user", self.text(20) + "?"), ("assistant", self.text(20))] + turns
        return json.dumps({"model": "auto", "messages": [{"role": r, "content": t} for r, t in turns]}).encode()

    def leave(self, body):
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\nx-vsr-debug: true\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                      % (CHAT.encode(), len(body)) + body)
            time.sleep(self.chance.uniform(.001, .02))
        self.left += 1

    def run(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.state["is_over"]:
            body = self.body()
            if self.chance.random() < 1 / 30:
                self.leave(body)
                continue
            headers = {"content-type": "application/json"}
            if self.chance.random() < .8:
                headers["x-vsr-debug"] = "true"
            begun = time.monotonic()
            try:
                c.request("POST", CHAT, body, headers)
                r = c.getresponse()
                r.read()
                self.statuses[r.status] += 1
            except OSError as e:
                self.statuses[type(e).__name__] += 1
                c.close()
            if not self.state["is_short"]:                  # answers under the short deadline are another population
                self.state["latencies"].append((begun, time.monotonic() - begun))


class Events:
    """What happens to the gateway while it works, in turn."""

    def __init__(self, p, text, home):
        self.p, self.text, self.home, self.n = p, text, home, 0
        self.path = os.path.join(OUT, "signalbox-soak.yaml")
        self.heads = sorted(f for f in os.listdir(os.path.join(home, "heads")) if f.endswith(".safetensors"))

    def configure(self, deadline):
        text = self.text.replace(DEADLINE % "5s", DEADLINE % deadline).replace("I was charged twice", "I was charged %d times" % self.n)
        with open(self.path + ".new", "w") as f:
            f.write(text)
        os.rename(self.path + ".new", self.path)

    def replace_head(self):
        path = os.path.join(self.home, "heads", self.heads[self.n % len(self.heads)])
        shutil.copyfile(path, path + ".new")
        os.rename(path + ".new", path)

    def next(self, state):
        self.n += 1
        kind = self.n % 4
        state["is_short"] = kind == 2
        if kind == 0:
            self.replace_head()
        else:
            self.configure("3ms" if kind == 2 else "5s")
        return ("head", "examples", "deadline", "examples")[kind]


def line(points):
    """Least squares: (value at the first, at the last x)."""
    xs, ys = zip(*points)
    x0, y0 = statistics.mean(xs), statistics.mean(ys)
    across = sum((x - x0) ** 2 for x in xs)
    slope = sum((x - x0) * (y - y0) for x, y in points) / across if across else 0
    return y0 + slope * (xs[0] - x0), y0 + slope * (xs[-1] - x0)


def files_of(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--minutes", type=float, default=12)
    ap.add_argument("--callers", type=int, default=8)
    args = ap.parse_args()
    out_prepare()
    home = home_make()
    with open(os.path.join(ROOT, "tests/bench/signals.yaml")) as f:
        text = f.read().replace("  limits: {encoder_threads: @THREADS@}", DEADLINE % "5s")
    mock, mock_port = mock_start()
    text = text.replace("@UPSTREAM@", "127.0.0.1:%d" % mock_port).replace("@LOG@", "off")
    p, port = signalbox_start(mock_port, "signalbox-soak", text, ALL_CORES)
    ready_wait(p, port)
    files = files_of(p.pid)
    state = {"is_over": False, "is_short": False, "latencies": []}
    sentences = [(s, 1.4 * len(s.split())) for s in Prompts(1, 0).sentences]
    callers = [Caller(port, i + 1, state, sentences) for i in range(args.callers)]
    events, happened, memory = Events(p, text, home), collections.Counter(), []
    work = [(0, sum(cpu(p.pid)), 0)]
    begun, seconds = time.monotonic(), args.minutes * 60
    try:
        before = metrics(p.admin)
        for c in callers:
            c.start()
        while (passed := time.monotonic() - begun) < seconds:
            time.sleep(MEMORY_S)
            if p.poll() is not None:
                raise SystemExit("the gateway has ended: see %s/signalbox-soak.log" % OUT)
            memory.append((passed, rss(p.pid) / 2**20))
            work.append((passed, sum(cpu(p.pid)), sum(metrics(p.admin)["signalbox_encoder_tokens_total"].values())))
            if passed > EVENT_S * (events.n + 1) and passed < seconds - EVENT_S:
                happened[events.next(state)] += 1
        state["is_over"] = True
        for c in callers:
            c.join(90)
        time.sleep(2)
        after, left = metrics(p.admin), files_of(p.pid)
    finally:
        stop_all()
    statuses = sum((c.statuses for c in callers), collections.Counter())
    asked, gone = sum(statuses.values()), sum(c.left for c in callers)
    latencies = [(t - begun, v * 1e3) for t, v in state["latencies"]]
    tenths = []
    say("%8s %14s %10s %10s %10s %14s" % ("tenth", "resident MB", "answers", "p50 ms", "p99 ms", "CPU ms/1K tok"))
    for i in range(10):
        part = lambda rows: [v for t, v in rows if seconds * i / 10 <= t < seconds * (i + 1) / 10]
        mb, ms = part(memory) or [0], sorted(part(latencies)) or [0]
        done = [w for w in work if seconds * i / 10 <= w[0] < seconds * (i + 1) / 10] or work[-1:]
        tokens = done[-1][2] - done[0][2]
        tenths.append({"mb": statistics.median(mb), "p50": statistics.median(ms), "p99": ms[len(ms) * 99 // 100], "answers": len(ms),
                       "cpu": (done[-1][1] - done[0][1]) * 1e6 / tokens if tokens else 0})
        say("%8d %14.1f %10d %10.2f %10.2f %14.2f" % (i + 1, tenths[i]["mb"], len(ms), tenths[i]["p50"], tenths[i]["p99"], tenths[i]["cpu"]))
    gained = lambda name: sum(after.get(name, {}).values()) - sum(before.get(name, {}).values())
    first_mb, last_mb = line([x for x in memory if x[0] >= seconds * WARM / 10])
    first_ms, last_ms = line([(i, t["p50"]) for i, t in enumerate(tenths) if i >= WARM])
    first_cpu, last_cpu = line([(i, t["cpu"]) for i, t in enumerate(tenths) if i >= WARM])
    total = asked + gone
    say("\n%d requests (%s), %d of them left early; equals 8 hours at %.1f requests/s" % (
        total, ", ".join("%s: %d" % s for s in sorted(statuses.items(), key=str)), gone, total / (8 * 3600)))
    say("%d events: %s" % (sum(happened.values()), ", ".join("%s %d" % e for e in sorted(happened.items()))))
    say("%.0f tokens read in %.0f forwards; without an answer: %s" % (gained("signalbox_encoder_tokens_total"), gained("signalbox_encoder_forwards_total"),
        ", ".join("%s %d" % e for e in sorted(after.get("signalbox_encoder_lost_total", {}).items())) or "none"))
    checks = [
        ("resident memory, line over the last eight tenths: %.1f -> %.1f MB" % (first_mb, last_mb),
         last_mb - first_mb < first_mb * FLAT["memory"] and last_mb - first_mb < 4),
        ("p50, line over the last eight tenths: %.2f -> %.2f ms" % (first_ms, last_ms), last_ms - first_ms < first_ms * FLAT["p50"]),
        ("CPU of 1,000 tokens, the same: %.2f -> %.2f ms" % (first_cpu, last_cpu), last_cpu - first_cpu < first_cpu * FLAT["cpu"]),
        ("open files %d -> %d" % (files, left), left <= files + args.callers),
        ("waiting tokens %d, requests %d" % (sum(after["signalbox_encoder_queue_tokens"].values()), sum(after["signalbox_in_flight"].values())),
         not sum(after["signalbox_encoder_queue_tokens"].values()) and not sum(after["signalbox_in_flight"].values())),
        ("answers other than 200: %d" % (asked - statuses[200]), asked == statuses[200]),
    ]
    for words, is_held in checks:
        say("%-70s %s" % (words, "ok" if is_held else "NOT SO"))
    with open(os.path.join(OUT, "soak_neural.json"), "w") as f:
        json.dump({"machine": machine(), "arguments": vars(args), "tenths": tenths, "memory": memory, "requests": total, "events": happened,
                   "checks": checks}, f, indent=1)
    raise SystemExit(0 if all(is_held for _, is_held in checks) else 1)


if __name__ == "__main__":
    main()
