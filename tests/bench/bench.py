#!/usr/bin/env python3
"""signalbox side by side with nginx as a plain proxy, in one run: `make bench`.

nginx does what a proxy does; signalbox does that and parses the body, evaluates twenty routing rules, writes the
chosen model's name into the body, counts tokens and money, and logs. The two take turns, round after round, so that
what disturbs one disturbs the other; medians and their ratio are what counts. See docs/benchmarks.md.

    bench.py [--rounds N] [--seconds S] [--only cpu_1k,cpu_76k,stream,translation,latency,memory,idle,http2,cold,instructions] [--streams N]
"""
import argparse, json, os, re, resource, shutil, subprocess, time, urllib.request

import chart
from rig import *

BARS = {                            # what we hold ourselves to: section -> (figure, most)
    "cpu_1k": ("ratio", 1.0), "cpu_76k": ("ratio", 1.5), "latency": ("added_ms", 0.3), "memory": ("mb", 20),
    "idle": ("kb", 16), "cold": ("ms", 100), "translation": ("ratio", 1.5), "http2": ("mb", 200),
}


def side_by_side(title, targets, body, args, options):
    """Rounds in turn over [(name, process, port)]; prints each, returns figures by name."""
    rows = {name: [] for name, _, _ in targets}
    for _, _, port in targets:
        load(port, "-b", body, "-d", 1, *options)
    for turn in range(args.rounds):
        order = targets if turn % 2 == 0 else targets[::-1]
        for name, p, port in order:
            got = load_cpu(p.pid, port, "-b", body, "-d", args.seconds, *options)
            if got["errors"]:
                say("  ! %s: %d errors (status %d)" % (name, got["errors"], got["bad_status"]))
            rows[name].append(got)
    say("\n%s" % title)
    say("  %-10s %30s %15s %12s %10s" % ("", "CPU us/request", "user + system", "req/s", "p99 ms"))
    result = {}
    for name in rows:
        figures = {k: spread([r[k] for r in rows[name]]) for k in ("cpu_us", "user_us", "system_us", "rps")}
        figures["p99_us"] = spread([r["total_us"]["p99"] for r in rows[name]])
        figures["errors"] = sum(r["errors"] for r in rows[name])
        result[name] = figures
        c = figures["cpu_us"]
        say("  %-10s %12.2f (%6.2f .. %6.2f) %6.2f + %6.2f %12.0f %10.2f"
            % (name, c["median"], c["min"], c["max"], figures["user_us"]["median"], figures["system_us"]["median"],
               figures["rps"]["median"], figures["p99_us"]["median"] / 1000))
    result["ratio"] = result["signalbox"]["cpu_us"]["median"] / max(result["nginx"]["cpu_us"]["median"], 1e-9)
    say("  signalbox / nginx: %.2f" % result["ratio"])
    return result


def added_latency(targets, mock_port, bodies, args, connections):
    """Time to the first byte at half the peak of the slower of the two, against going direct. Rounds in turn."""
    say("\nadded time to the first byte of the answer, open loop at half load, 64 connections")
    say("  %-30s %12s %12s %12s %12s" % ("", "p50 ms", "p99 ms", "added p50", "added p99"))
    result = {}
    for kind, body in bodies:
        rate = int(min(load(port, "-b", body, "-d", 2, *connections)["rps"] for _, _, port in targets) / 2)
        result[kind + "_rate"] = rate
        rows = {"direct": []}
        for name, _, _ in targets:
            rows[name] = []
        for _ in range(args.rounds):
            for name, port in [("direct", mock_port)] + [(n, port) for n, _, port in targets]:
                got = load(port, "-b", body, "-c", 64, "-r", rate, "-w", 0.5, "-d", args.seconds)
                if got["errors"]:
                    say("  ! %s: %d errors" % (name, got["errors"]))
                rows[name].append(got["first_us"])
        base = {q: statistics.median(r[q] for r in rows["direct"]) / 1000 for q in ("p50", "p99")}
        for name in rows:
            mine = {q: statistics.median(r[q] for r in rows[name]) / 1000 for q in ("p50", "p99")}
            # Rounds are pairs taken within seconds of each other: the added time is the median of their differences.
            added = {q: statistics.median(r[q] - d[q] for r, d in zip(rows[name], rows["direct"])) / 1000 for q in ("p50", "p99")}
            result["%s_%s" % (kind, name)] = {"p50_ms": mine["p50"], "p99_ms": mine["p99"], "added_p50_ms": added["p50"],
                                              "added_p99_ms": added["p99"]}
            say("  %-30s %12.3f %12.3f %12.3f %12.3f" % ("%s, %d/s, %s" % (kind, rate, name), mine["p50"], mine["p99"], added["p50"],
                                                         added["p99"]))
    result["added_ms"] = max(result["%s_signalbox" % kind]["added_p99_ms"] for kind, _ in bodies)
    return result


def translation(p, port, requests, args, options):
    """CPU of a stream that is translated, Messages in and chat out, against the same stream passed through. In turn."""
    result = {}
    say("\ntranslation: Messages -> chat and back, against chat passed through; streams of 20 events, closed loop")
    for kind, text in requests:
        bodies = {"pass": (body_file("chat_" + kind, text), CHAT), "translate": (body_file("messages_" + kind, as_messages(text)), "/v1/messages")}
        rows = {name: [] for name in bodies}
        for turn in range(args.rounds):
            for name in list(bodies) if turn % 2 == 0 else list(bodies)[::-1]:
                body, path = bodies[name]
                got = load_cpu(p.pid, port, "-b", body, "-d", args.seconds, "-H", "x-mock-tokens: 20", *options, path=path)
                if got["errors"]:
                    say("  ! %s: %d errors (status %d)" % (name, got["errors"], got["bad_status"]))
                rows[name].append(got["cpu_us"])
        median = {name: statistics.median(rows[name]) for name in rows}
        result[kind] = {"pass_us": median["pass"], "translate_us": median["translate"], "ratio": median["translate"] / median["pass"]}
        say("  %-10s %8.1f us passed through, %8.1f us translated: %.2f" % (kind, median["pass"], median["translate"], result[kind]["ratio"]))
    result["ratio"] = max(r["ratio"] for r in result.values())
    return result


def http2_streams(n):
    """Resident memory with n streams open: HTTP/2 from clients, and HTTP/2 towards the provider (a second gateway)."""
    if not shutil.which("h2load"):
        say("\nHTTP/2 streams: no h2load here (Debian: nghttp2-client), left out")
        return {}
    mock, mock_port = mock_start("--default", "x-mock-gap-ms=60000", "--default", "x-mock-tokens=3")
    with open(os.path.join(ROOT, "tests/bench/bench.yaml")) as f:
        text = f.read()
    middle, middle_port = signalbox_start(mock_port, "signalbox-middle", text)
    near = text.replace("backend_refs: [{", "backend_refs: [{http2: always, ")
    p, port = signalbox_start(middle_port, "signalbox-h2", near)
    before = rss(p.pid)
    body = body_file("stream", body_chat(stream=True))
    holder = subprocess.Popen(["taskset", "-c", str(LOAD_CORE), "h2load", "-n", str(n), "-c", "10", "-m", str(n // 10), "-t", "1", "-d", body,
                               "-H", "content-type: application/json", "http://127.0.0.1:%d%s" % (port, CHAT)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    held, peak, end = 0, 0, time.monotonic() + 60
    while time.monotonic() < end and held < n:
        time.sleep(0.5)
        peak = max(peak, rss(p.pid))
        with urllib.request.urlopen("http://127.0.0.1:%d/mock/stats" % mock_port, timeout=5) as r:
            held = json.load(r)["in_flight"]
    time.sleep(4)
    after = rss(p.pid)
    sockets = sum(os.readlink("/proc/%d/fd/%s" % (p.pid, x)).startswith("socket") for x in os.listdir("/proc/%d/fd" % p.pid))
    holder.kill()
    holder.wait()
    for x in (p, middle, mock):
        stop(x)
    say("\n%d HTTP/2 streams in and out over %d sockets: %.1f MB resident (%.1f MB before, %.1f MB at the peak of opening)"
        % (held, sockets, after / 2**20, before / 2**20, peak / 2**20))
    return {"streams": held, "mb": after / 2**20, "before_mb": before / 2**20, "peak_mb": peak / 2**20, "sockets": sockets}


def idle_streams(n, mock_extra):
    """Resident growth for each of n streams that have brought one event and are silent."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files < 2 * n + 200:                         # two descriptors a stream
        n = (files - 200) // 2
        say("\n! this machine lets a process open %d files: %d streams instead" % (files, n))
    mock, mock_port = mock_start(*mock_extra)
    p, port = signalbox_start(mock_port, "signalbox-idle")
    body = body_file("stream", body_chat(stream=True))
    load(port, "-b", body_file("chat", body_chat()), "-n", 200)
    time.sleep(0.3)
    before = rss(p.pid)
    holder = subprocess.Popen(["taskset", "-c", str(LOAD_CORE), LOADGEN, "--hold", "-c", str(n), "-b", body,
                               "-H", "x-mock-gap-ms: 60000", "-H", "x-mock-tokens: 4", "127.0.0.1:%d%s" % (port, CHAT)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    opened = json.loads(holder.stdout.readline())
    time.sleep(4)                   # silent streams give their stack pages back after a second
    after = rss(p.pid)
    holder.stdin.close()
    holder.wait()
    time.sleep(1)
    later = rss(p.pid)
    stop(p)
    stop(mock)
    result = {"streams": opened["open"], "errors": opened["errors"], "kb": (after - before) / 1024 / max(opened["open"], 1),
              "rss_before_mb": before / 2**20, "rss_with_mb": after / 2**20, "rss_after_mb": later / 2**20}
    say("\n%d idle streams: %.1f KB each (resident %.1f MB -> %.1f MB, %.1f MB when they had gone; %d errors)"
        % (result["streams"], result["kb"], result["rss_before_mb"], result["rss_with_mb"], result["rss_after_mb"], result["errors"]))
    return result


def cold_start(rounds):
    times = []
    for _ in range(max(rounds, 5)):
        p, _ = signalbox_start(9)
        times.append(p.cold_start * 1000)
        stop(p)
    result = {"ms": statistics.median(times), "spread": spread(times)}
    say("\ncold start: %.0f ms until it listens (%.0f .. %.0f)" % (result["ms"], min(times), max(times)))
    return result


def collected(log):
    """What callgrind says at its end."""
    with open(os.path.join(OUT, log + ".log"), errors="replace") as f:
        found = re.search(r"Collected\s*:\s*(\d+)", f.read())
    return int(found.group(1)) if found else 0


def pick_instructions(learner, candidates):
    """From a text of 1 KB to the order of the candidates: the difference of two runs, which learn the same before."""
    counts = []
    for n in (100, 1100):
        p = start(["valgrind", "--tool=callgrind", "--callgrind-out-file=%s/callgrind.pick" % OUT, SIGNALBOX, "bench", "select",
                   "--learner", learner, "--candidates", str(candidates), "--picks", str(n)], GATEWAY_CORE, "callgrind-pick")
        p.wait()
        running.remove(p)
        counts.append(collected("callgrind-pick"))
    return (counts[1] - counts[0]) / 1000


def instructions(mock_port, bodies):
    """User-space instructions a request, and a pick, under callgrind: the figures that do not depend on the neighbours."""
    if not shutil.which("valgrind"):
        say("\ninstructions: no valgrind here, left out")
        return {}
    result = {}
    for kind, body in bodies:
        counts = []
        for n in (200, 1200):
            port = free_port()
            with open(os.path.join(OUT, "signalbox.yaml"), "w") as f:
                with open(os.path.join(ROOT, "tests/bench/bench.yaml")) as t:
                    f.write(t.read().replace("@UPSTREAM@", "127.0.0.1:%d" % mock_port)
                            .replace("@LOG@", os.path.join(OUT, "signalbox.access.log")))
            p = start(["valgrind", "--tool=callgrind", "--callgrind-out-file=%s/callgrind.%s" % (OUT, kind), SIGNALBOX, "serve",
                       "-c", os.path.join(OUT, "signalbox.yaml"), "--listen", "127.0.0.1:%d" % port,
                       "--admin", "127.0.0.1:%d" % free_port()], GATEWAY_CORE, "callgrind")
            wait_port(port, p, 60)
            load(port, "-b", body, "-n", n, "-c", 8)
            stop(p)
            counts.append(collected("callgrind"))
        result[kind] = (counts[1] - counts[0]) / 1000
        say("\ninstructions a request (user space, callgrind), %s: %.0f" % (kind, result[kind]))
    for candidates in (9, 100):
        kind = "pick_%d" % candidates
        result[kind] = pick_instructions("blend", candidates)
        say("\ninstructions a pick (features of 1 KB and the blend), %d candidates: %.0f" % (candidates, result[kind]))
    return result


def verdicts(results):
    say("\n%-12s %-10s %10s %10s" % ("section", "figure", "got", "bar"))
    for section, (figure, most) in BARS.items():
        got = results.get(section, {}).get(figure)
        if got is not None:
            say("%-12s %-10s %10.3f %10s %s" % (section, figure, got, "<= %g" % most, "" if got <= most else "MISSED"))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=4)
    ap.add_argument("--connections", type=int, default=32)
    ap.add_argument("--streams", type=int, default=10000)
    ap.add_argument("--only", default="")
    args = ap.parse_args()
    wanted = args.only.split(",") if args.only else list(BARS) + ["stream", "instructions"]
    out_prepare()
    results = {"machine": machine(), "arguments": vars(args)}
    say("machine: %(cpu)s, %(cores)d cores, Linux %(kernel)s, load average %(load_average).1f" % results["machine"])
    if results["machine"]["load_average"] > 0.5:
        say("! other work is running here: look at the ratios, and at them with doubt")
    mock, mock_port = mock_start()
    try:
        nginx, nginx_port = nginx_start(mock_port)
        ours, our_port = signalbox_start(mock_port)
        targets = [("nginx", nginx, nginx_port), ("signalbox", ours, our_port)]
        chat, agent = body_file("chat", body_chat()), body_file("agent", body_agent())
        stream = body_file("stream", body_chat(stream=True))
        time.sleep(0.3)
        if "memory" in wanted:
            results["memory"] = {"mb": rss(ours.pid) / 2**20}
            say("\nmemory: %.1f MB resident after the start" % results["memory"]["mb"])
        connections = ["-c", args.connections]
        if "cpu_1k" in wanted:
            results["cpu_1k"] = side_by_side("chat body of %d bytes, closed loop" % os.path.getsize(chat), targets, chat, args, connections)
        if "cpu_76k" in wanted:
            results["cpu_76k"] = side_by_side("agent body of %d bytes with 24 tools, closed loop" % os.path.getsize(agent), targets, agent,
                                              args, connections)
        if "stream" in wanted:
            results["stream"] = side_by_side("stream of 20 events, closed loop", targets, stream, args,
                                             connections + ["-H", "x-mock-tokens: 20"])
        if "translation" in wanted:
            results["translation"] = translation(ours, our_port, [("1k", body_chat(stream=True)), ("76k", body_agent(stream=True))], args, connections)
        if "latency" in wanted:
            results["latency"] = added_latency(targets, mock_port, [("whole", chat), ("stream", stream)], args, connections)
        stop(nginx)
        stop(ours)
        if "instructions" in wanted:
            results["instructions"] = instructions(mock_port, [("1k", chat), ("76k", agent)])
        stop(mock)
        if "cold" in wanted:
            results["cold"] = cold_start(args.rounds)
        if "http2" in wanted:
            results["http2"] = http2_streams(args.streams)
        if "idle" in wanted:
            results["idle"] = idle_streams(args.streams, [])
    finally:
        stop_all()
    results["machine"]["load_average_after"] = os.getloadavg()[0]
    verdicts(results)
    with open(os.path.join(OUT, "results.json"), "w") as f:
        json.dump(results, f, indent=1)
    with open(os.path.join(OUT, "results.html"), "w") as f:
        f.write(chart.page(results, BARS))
    say("\nwritten: %s/results.json, results.html" % os.path.relpath(OUT))


if __name__ == "__main__":
    main()
