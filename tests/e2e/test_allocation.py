#!/usr/bin/env python3
"""Every allocation of a request's path fails once: the request may be refused, the process must go on, the next request must
be answered."""
import mmap, struct, subprocess

from harness import *

if "asan" in SIGNALBOX or "tsan" in SIGNALBOX:
    print("skip: the sanitizers have an allocator of their own")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

folder = tempfile.TemporaryDirectory()
library = os.path.join(folder.name, "failmalloc.so")
here = os.path.dirname(os.path.abspath(__file__))
subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, os.path.join(here, "failmalloc.c"), "-ldl"], check=True)
control = os.path.join(folder.name, "countdown")
with open(control, "wb") as f:
    f.write(struct.pack("<q", 0))
with open(control, "r+b") as f:
    countdown = mmap.mmap(f.fileno(), 8)

mock = Mock()
gate = Gateway(config(mock.port, decisions="""    - name: all
      priority: 1
      rules: {operator: OR, conditions: [{type: keyword, name: k}, {type: context, name: c}]}
      modelRefs: [{model: mock}]
      plugins: [{type: system_prompt, configuration: {system_prompt: "be kind"}}, {type: header_mutation, configuration: {add: [{name: x-a, value: b}]}}]
  signals:
    keywords: [{name: k, operator: OR, keywords: [hello, world]}, {name: r, operator: OR, method: regex, keywords: ["h.llo"]}]
    context: [{name: c, min_tokens: "0", max_tokens: "1M"}]"""), env={"LD_PRELOAD": library, "FAILMALLOC": control})


def left():
    return struct.unpack("<q", countdown[:8])[0]


def sweep(ask, limit=400):
    """Fails allocation 1, 2, 3 ... of `ask` until one run has none left to fail."""
    answers = {}
    for n in range(1, limit):
        countdown[:8] = struct.pack("<q", n)
        try:
            status = ask()
        except (OSError, http.client.HTTPException) as e:
            status = type(e).__name__
        hit = left() <= 0
        countdown[:8] = struct.pack("<q", 0)
        assert gate.p.poll() is None, "allocation %d ended the process:\n%s" % (n, gate.output()[-2000:])
        answers[status] = answers.get(status, 0) + 1
        r = gate.chat()
        assert r.status == 200, (n, r.status, r.body)
        if not hit:
            print("  %d allocations, answers %s" % (n - 1, answers))
            return answers
    return answers


@test
def whole_answers():
    answers = sweep(lambda: gate.chat().status)
    assert 200 in answers


@test
def streams():
    sweep(lambda: gate.chat(stream=True).status)


@test
def large_bodies():
    text = "hello \\ \u00e9 " * 20000
    sweep(lambda: gate.chat(text, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}]).status)


@test
def errors_and_refusals():
    sweep(lambda: gate.chat(headers={"x-mock-status": "500"}).status)
    sweep(lambda: gate.request("POST", "/v1/chat/completions", b"{bad").status)
    sweep(lambda: gate.request("GET", "/v1/models").status)


@test
def reloads():
    sweep(lambda: gate.request("PUT", "/api/v1/config/validate", b"{}", port=gate.admin).status, 60)


@test
def it_has_no_leak_and_stops():
    wait_for(lambda: mock.stats()["in_flight"] == 0, 5)
    assert gate.stop() == 0
    mock.stop()


if __name__ == "__main__":
    main()
