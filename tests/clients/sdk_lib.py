"""What the SDK scripts in Python share: where to aim, the cases they play, and how a result is printed.

A script plays every scenario at every model and prints one JSON line {"api", "how", "case", "model", "facts", "raw"} for each.
`facts` says what the SDK understood, in words that all APIs share (text, thought, calls, stop, usage ...); `raw` is all that the SDK
parsed. sdks.py compares the lines of two runs, with and without signalbox, and checks the facts against what the provider meant.
"""
import json
import os
import sys
import time
import urllib.request

from pydantic import BaseModel

BASE = os.environ["CLIENT_BASE_URL"]        # without a path
MOCK = os.environ["CLIENT_MOCK_URL"]        # the provider behind it, for its books
KEY = os.environ["CLIENT_API_KEY"]
MODELS = os.environ["CLIENT_MODELS"].split(",")
IS_DIRECT = os.environ["CLIENT_SIDE"] == "direct"

CASES = ["text", "empty", "tool", "text-tool", "parallel", "no-arguments", "thought", "thought-tool", "length", "filter", "refusal", "json", "cached"]
ERRORS = ["rate-limit", "invalid", "overloaded", "server-error"]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
CITY = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}, "required": ["city"]}
TOOLS = [("get_weather", "The weather in a city", CITY), ("get_time", "The time", {"type": "object", "properties": {}})]


class Person(BaseModel):
    name: str
    age: int


scenarios = []


def add(api, how, case, function, own=False):
    """`own`: the gateway's own doors, which a provider alone does not have."""
    if not (own and IS_DIRECT):
        scenarios.append((api, how, case, function))


def main():
    only = set(sys.argv[1:])
    for model in MODELS:
        for api, how, case, function in scenarios:
            if only and not only & {api, how, case}:
                continue
            start = time.monotonic()
            try:
                result = function(model)
            except Exception as e:          # a scenario that dies is a result like any other
                result = {"facts": {"died": "%s: %s" % (type(e).__name__, str(e)[:1500])}}
            line = dict({"api": api, "how": how, "case": case, "model": model, "seconds": round(time.monotonic() - start, 3)}, **result)
            print(json.dumps(line, default=str), flush=True)


def books():
    with urllib.request.urlopen(MOCK + "/mock/requests?last", timeout=5) as answer:
        return json.load(answer)


def seen(*words):
    """Whether the provider's last request holds the words."""
    text = books()[-1]["raw"]
    return [w in text for w in words]


def left():
    """Whether the provider notices, within two seconds, that nobody listens any more."""
    end = time.monotonic() + 2
    while books()[-1]["end"] != "left" and time.monotonic() < end:
        time.sleep(0.02)
    return books()[-1]["end"] == "left"


def strict(x):
    """The SDKs build their objects without looking; this insists on every member that their types require."""
    type(x).model_validate(x.to_dict())
    return x


def calls_of(pairs):
    return [[name, json.loads(text) if isinstance(text, str) and text else text or {}] for name, text in pairs]
