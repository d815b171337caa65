#!/usr/bin/env python3
"""Score the binary against one suite of the conformance kit: start it with the suite's configuration, run the kit's judge.

    conformance.py SHARED SUITE [CLASS]      (class: heuristic by default; "all" for every probe)"""
import os, signal, socket, subprocess, sys, tempfile, time, urllib.request

shared, suite = sys.argv[1:3]
kind = sys.argv[3] if len(sys.argv) > 3 else "heuristic"
binary = os.environ.get("SIGNALBOX", "build/signalbox")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


data, admin = free_port(), free_port()
config = os.path.join(shared, "conformance", "suites", suite, "config.yaml")
log = tempfile.TemporaryFile()
p = subprocess.Popen([binary, "serve", "-c", config, "--listen", "127.0.0.1:%d" % data, "--admin", "127.0.0.1:%d" % admin],
                     stderr=log, stdout=log)
try:
    for _ in range(200):
        try:
            urllib.request.urlopen("http://127.0.0.1:%d/health" % admin, timeout=1)
            break
        except OSError:
            if p.poll() is not None:
                break
            time.sleep(0.05)
    if p.poll() is not None:
        log.seek(0)
        print(log.read().decode()[-3000:])
        print("0 passed, 1 failed")
        sys.exit(1)
    args = [sys.executable, os.path.join(shared, "conformance", "run.py"), "--url", "http://127.0.0.1:%d" % admin, "--suite", suite]
    if kind != "all":
        args += ["--class", kind]
    sys.exit(subprocess.run(args, timeout=600).returncode)
finally:
    p.send_signal(signal.SIGTERM)
    try:
        p.wait(10)
    except subprocess.TimeoutExpired:
        p.kill()
