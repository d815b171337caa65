"""What the Python clients share: where to aim, how to print, and the mock's books.

A client is a list of scenarios. Each prints one JSON line {"scenario", "result"}; a result is
{"facts", "raw"}: `facts` has the same few members for every client (text, finish, tools, usage...)
and is what run.py checks against its expectations, `raw` is everything this client can see and is
only compared between the two sides.
"""

import json
import os
import sys
import time
import urllib.request

BASE = os.environ["CLIENT_BASE_URL"]        # ends in /v1; the mock or the gateway
MOCK = os.environ["CLIENT_MOCK_URL"]        # the mock behind it, for its books
KEY = os.environ["CLIENT_API_KEY"]
AUTO = os.environ["CLIENT_AUTO_MODEL"]      # "auto" through the gateway, "mock" without it
UNIQUE = os.environ["CLIENT_UNIQUE"]        # differs between runs and sides: keys of the mock's counters
MODEL = "mock"

SCENARIOS = []

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
TIME = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
PERSON = {
    "title": "Person",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
HELLO = "Say hello in a few words."
ODD = "Grüße \U0001f600 \u6771\u4eac \"quoted\" back\\slash \u2028 tab\t end"
ONE_TOOL = "Please use a tool to look up the weather."
TWO_TOOLS = "Please use two tools in parallel."
ERRORS = {
    # Status and the headers that make the mock answer so. No retry-after on most: the gateway may retry.
    "error_400": {"x-mock-status": "400", "x-mock-error-code": "invalid_value"},
    "error_404": {"x-mock-status": "404", "x-mock-error-code": "model_not_found"},
    "error_422": {"x-mock-status": "422", "x-mock-error-code": "unprocessable"},
    "error_429": {"x-mock-status": "429", "x-mock-error-code": "rate_limit_exceeded", "x-mock-retry-after-ms": "40"},
    "error_500": {"x-mock-status": "500", "x-mock-error-code": "server_error"},
    "error_503": {"x-mock-status": "503", "x-mock-error-code": "overloaded"},
    "error_401": {"x-mock-status": "401", "x-mock-error-code": "invalid_api_key"},
    "error_403": {"x-mock-status": "403", "x-mock-error-code": "forbidden"},
}


def scenario(function):
    SCENARIOS.append((function.__name__, function))
    return function


def add(name, function):
    SCENARIOS.append((name, function))


def main():
    only = set(sys.argv[1:])
    for name, function in SCENARIOS:
        if only and name not in only:
            continue
        start = time.monotonic()
        try:
            result = function()
        except Exception as e:  # a scenario that dies is a result like any other
            result = {"raised": type(e).__name__, "message": str(e)[:2000]}
        line = {"scenario": name, "result": result, "seconds": round(time.monotonic() - start, 3)}
        print(json.dumps(line, default=str), flush=True)


def books():
    with urllib.request.urlopen(MOCK + "/mock/stats", timeout=5) as answer:
        return json.load(answer)


def after_abort(abort):
    """Runs `abort`, which must leave a request half done, and waits for the mock to notice."""
    before = books()
    raw = abort()
    start = time.monotonic()
    while True:
        now = books()
        rose = now["client_closed_mid_response"] > before["client_closed_mid_response"]
        idle = now["in_flight"] <= before["in_flight"]
        if (rose and idle) or time.monotonic() - start > 2:
            break
        time.sleep(0.01)
    return {"facts": {"closed_rose": rose, "in_flight_zero": idle}, "raw": raw}


def usage_facts(usage):
    if not usage:
        return None
    return {k: usage.get(k) for k in ("prompt_tokens", "completion_tokens", "total_tokens")}


def answer_facts(body):
    """Facts of a chat.completion or text_completion as JSON."""
    choices = body["choices"]
    first = choices[0]
    message = first.get("message") or {}
    return {
        "text": message.get("content") if "message" in first else first.get("text"),
        "finish": first.get("finish_reason"),
        "tools": [[c["function"]["name"], json.loads(c["function"]["arguments"])] for c in message.get("tool_calls") or []],
        "usage": usage_facts(body.get("usage")),
        "choices": len(choices),
        "logprobs": bool((first.get("logprobs") or {}).get("content")),
        "model": body.get("model"),
    }


def stream_facts(chunks):
    """Facts of a list of chunks as JSON; also what only a stream can get wrong."""
    text, tools, finish, usage = {}, {}, None, None
    pieces, lone_usage, usage_members, ids = 0, 0, 0, set()
    logprobs = False
    for chunk in chunks:
        ids.add((chunk.get("id"), chunk.get("created"), chunk.get("model")))
        usage_members += "usage" in chunk
        if chunk.get("usage"):
            usage = usage_facts(chunk["usage"])
            lone_usage += chunk["choices"] == []
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {"content": choice.get("text")}
            index = choice["index"]
            logprobs = logprobs or bool(choice.get("logprobs"))
            if delta.get("content"):
                pieces += 1
                text[index] = text.get(index, "") + delta["content"]
            for call in delta.get("tool_calls") or []:
                seen = tools.setdefault(call["index"], {"ids": [], "names": [], "arguments": ""})
                function = call.get("function") or {}
                if call.get("id"):
                    seen["ids"].append(call["id"])
                if function.get("name"):
                    seen["names"].append(function["name"])
                seen["arguments"] += function.get("arguments") or ""
            finish = choice.get("finish_reason") or finish
    return {
        "text": text.get(0),
        "pieces": pieces,
        "choices": max(len(text), 1),
        "finish": finish,
        "tools": [[t["names"][0], json.loads(t["arguments"])] for _, t in sorted(tools.items())],
        "names_once": all(len(t["ids"]) == 1 and len(t["names"]) == 1 for t in tools.values()),
        "usage": usage,
        "lone_usage": lone_usage,
        "usage_members": usage_members,
        "same_head": len(ids) == 1,
        "logprobs": logprobs,
        "model": chunks[0].get("model") if chunks else None,
    }
