#!/usr/bin/env python3
"""Conversations keep their model: by whatever name a client gives them, across latencies and dice, and the log says why."""
import collections, json, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *

TWO = """version: v0.3
providers:
  defaults: {default_model: a}
  models:
    - {name: a, provider_model_id: a, pricing: {prompt_per_1m: 3, cached_input_per_1m: 0.3, completion_per_1m: 15},
       backend_refs: [{name: x, base_url: "http://127.0.0.1:%(port)d/v1", provider: openai}]}
    - {name: b, provider_model_id: b, pricing: {prompt_per_1m: 3, cached_input_per_1m: 0.3, completion_per_1m: 15},
       backend_refs: [{name: x, base_url: "http://127.0.0.1:%(port)d/v1", provider: openai}]}
routing:
  modelCards: [{name: a}, {name: b}]
  decisions:
    - {name: all, priority: 1, modelRefs: [{model: a, weight: 1}, {model: b, weight: 1}], algorithm: {type: weighted}}
global:
  router: {session_affinity: {enabled: %(on)s}}
  services: {observability: {tracing: {enabled: false}, access_log: "%(log)s"}}
"""


def with_gateway(f, on=True):
    mock = Mock()
    log = tempfile.NamedTemporaryFile(suffix=".log")
    g = Gateway(TWO % {"port": mock.port, "on": str(on).lower(), "log": log.name})
    try:
        f(g, log.name)
    finally:
        g.stop()
        mock.stop()


def model_of(r):
    assert r.status == 200, r.body
    return r.getheader("x-vsr-selected-model")


NAMES = [
    lambda s: ({"x-session-id": s}, {}), lambda s: ({"x-claude-code-session-id": s}, {}), lambda s: ({"session-id": s}, {}),
    lambda s: ({}, {"prompt_cache_key": s}), lambda s: ({}, {"metadata": {"user_id": "user_0_account__session_" + s}}),
]


@test
def a_conversation_stays_on_its_model_whatever_names_it():
    def run(g, log):
        for i, name in enumerate(NAMES):
            seen = collections.Counter()
            for k in range(12):
                headers, more = name("s-%d-%d" % (i, k))
                models = {model_of(g.chat("hello", headers, **more)) for _ in range(6)}
                assert len(models) == 1, (i, k, models)
                seen[models.pop()] += 1
            assert len(seen) == 2, "twelve conversations are spread over both models: %r" % seen
    with_gateway(run)


@test
def without_a_name_or_when_switched_off_the_dice_decide():
    def run(g, log):
        assert len({model_of(g.chat("hello")) for _ in range(40)}) == 2
    with_gateway(run)

    def off(g, log):
        assert len({model_of(g.chat("hello", {"x-session-id": "s"})) for _ in range(40)}) == 2
    with_gateway(off, on=False)


@test
def the_log_and_the_list_say_why():
    def run(g, log):
        for _ in range(4):
            g.chat("hello", {"x-session-id": "abc"})
        lines = wait_for(lambda: [json.loads(x) for x in open(log)] if len(open(log).readlines()) >= 4 else None, 5, "the log")
        assert all(x["session_id"] == "abc" for x in lines), lines
        assert any(x.get("selection", {}).get("session") for x in lines[1:]), lines[-1]
        r = g.request("GET", "/api/v1/sessions", port=g.admin)
        (s,) = json.loads(r.body)["data"]
        assert s["turns"] == 4 and s["switches"] == 0 and s["model"] in ("a", "b"), s
    with_gateway(run)


if __name__ == "__main__":
    main()
