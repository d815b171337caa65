#!/usr/bin/env python3
"""signalbox side by side with LiteLLM and Portkey, installed and measured in one run: `make bench-peers`.

LiteLLM comes from PyPI and Portkey from npm, at the versions below, into build/peers. All stand on core 1, one at
a time, before the same fake provider; what counts is requests a second of CPU, that is, answers divided by the CPU
seconds that the process and its children used. Ours evaluates its twenty rules all the same. LiteLLM runs one
worker, as its guide says for one core.

    peers.py [--rounds N] [--seconds S] [--only litellm,portkey]
"""
import argparse, json, os, subprocess, sys, time

import chart
from rig import *

PEERS = os.environ.get("PEERS_DIR", os.path.join(ROOT, "build", "peers"))
LITELLM = "litellm[proxy]>=1.108"
PORTKEY = {"@portkey-ai/gateway": "1.15.2"}
# Its own range takes releases under which every stream fails with an immutable-headers error.
PORTKEY_OVERRIDES = {"hono": "4.9.7", "@hono/node-server": "1.13.5", "@hono/node-ws": "1.2.0"}
BARS = {"litellm": 300, "portkey": 50}


def run(args, **more):
    say("  $ " + " ".join(args))
    subprocess.run(args, check=True, **more)


def litellm_install():
    home = os.path.join(PEERS, "litellm")
    if not os.path.exists(os.path.join(home, "bin", "litellm")):
        run([sys.executable, "-m", "venv", home])
        run([os.path.join(home, "bin", "pip"), "install", "-q", LITELLM])
    out = subprocess.run([os.path.join(home, "bin", "pip"), "show", "litellm"], capture_output=True, text=True).stdout
    return next((l.split()[1] for l in out.splitlines() if l.startswith("Version:")), "?")


def portkey_install():
    home = os.path.join(PEERS, "portkey")
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(home, "package.json"), "w") as f:
        json.dump({"private": True, "dependencies": PORTKEY, "overrides": PORTKEY_OVERRIDES}, f, indent=1)
    package = os.path.join(home, "node_modules/@portkey-ai/gateway/package.json")
    if not os.path.exists(package):
        run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=home)
    with open(package) as f:
        return json.load(f)["version"]


def litellm_start(mock_port):
    port = free_port()
    path = os.path.join(OUT, "litellm.yaml")
    with open(path, "w") as f:
        f.write("model_list:\n  - model_name: auto\n    litellm_params: {model: openai/mock, api_base: \"http://127.0.0.1:%d/v1\", api_key: k}\n"
                "general_settings: {}\n" % mock_port)
    env = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true", "LITELLM_LOG": "ERROR",
           "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    p = start([os.path.join(PEERS, "litellm/bin/litellm"), "--config", path, "--host", "127.0.0.1", "--port", str(port),
               "--num_workers", "1"], GATEWAY_CORE, "litellm", env)
    return p, port, []


def portkey_start(mock_port):
    port = free_port()
    p = start(["node", os.path.join(PEERS, "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"), "--headless",
               "--port=%d" % port], GATEWAY_CORE, "portkey")
    return p, port, ["-H", "x-portkey-provider: openai", "-H", "x-portkey-custom-host: http://127.0.0.1:%d/v1" % mock_port,
                     "-H", "authorization: Bearer k"]


INSTALL = {"litellm": litellm_install, "portkey": portkey_install}
START = {"litellm": litellm_start, "portkey": portkey_start}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=5)
    ap.add_argument("--only", default="litellm,portkey")
    args = ap.parse_args()
    wanted = args.only.split(",")
    out_prepare()
    os.makedirs(PEERS, exist_ok=True)
    results = {"machine": machine(), "arguments": vars(args), "peers": {}, "versions": {}}
    say("machine: %(cpu)s, %(cores)d cores, Linux %(kernel)s, load average %(load_average).1f" % results["machine"])
    for name in wanted:
        results["versions"][name] = INSTALL[name]()
        say("%s %s" % (name, results["versions"][name]))
    body = body_file("chat", body_chat())
    mock, mock_port = mock_start()
    try:
        ours, our_port = signalbox_start(mock_port)
        targets = [("signalbox", ours, our_port, [])]
        for name in wanted:
            p, port, options = START[name](mock_port)
            waited = wait_port(port, p, 120)
            say("%s listens after %.1f s" % (name, waited))
            targets.append((name, p, port, options))
        rows = {t[0]: [] for t in targets}
        time.sleep(1)
        idle = {name: rss(p.pid) for name, p, _, _ in targets}
        for _, _, port, options in targets:
            load(port, "-b", body, "-c", 16, "-d", 3, *options)
        for _ in range(args.rounds):
            for name, p, port, options in targets:
                got = load_cpu(p.pid, port, "-b", body, "-c", 16, "-d", args.seconds, *options)
                if got["errors"]:
                    say("  ! %s: %d errors of %d (status %d)" % (name, got["errors"], got["asked"], got["bad_status"]))
                rows[name].append(got)
        say("\n%-10s %16s %14s %10s %10s %12s" % ("", "req/s of a core", "CPU us/req", "req/s", "p50 ms", "resident MB"))
        for name, p, _, _ in targets:
            per_core = spread([1e6 / max(r["cpu_us"], 1e-3) for r in rows[name]])
            row = {"per_core": per_core, "cpu_us": spread([r["cpu_us"] for r in rows[name]]), "rps": spread([r["rps"] for r in rows[name]]),
                   "p50_ms": statistics.median(r["total_us"]["p50"] for r in rows[name]) / 1000,
                   "errors": sum(r["errors"] for r in rows[name]), "idle_mb": idle[name] / 2**20, "mb": rss(p.pid) / 2**20}
            results["peers"][name] = row
            say("%-10s %16.0f %14.1f %10.0f %10.2f %12.1f" % (name, per_core["median"], row["cpu_us"]["median"], row["rps"]["median"],
                                                              row["p50_ms"], row["mb"]))
        say()
        for name in wanted:
            factor = results["peers"]["signalbox"]["per_core"]["median"] / results["peers"][name]["per_core"]["median"]
            results["peers"][name]["factor"] = factor
            say("signalbox answers %.0f x as many requests a core as %s (bar: %d x)%s"
                % (factor, name, BARS[name], "" if factor >= BARS[name] else "  MISSED"))
    finally:
        stop_all()
    with open(os.path.join(OUT, "peers.json"), "w") as f:
        json.dump(results, f, indent=1)
    with open(os.path.join(OUT, "peers.html"), "w") as f:
        f.write(chart.page(results, {}))
    say("\nwritten: %s/peers.json, peers.html" % os.path.relpath(OUT))


if __name__ == "__main__":
    main()
