"""Anthropic's SDK for Python: Messages."""
import anthropic

from sdk_lib import *

client = anthropic.Anthropic(base_url=BASE, api_key=KEY, max_retries=0, timeout=10)
tools = [{"name": n, "description": d, "input_schema": p} for n, d, p in TOOLS]
base = {"max_tokens": 2048, "system": "Be brief."}


def user(content):
    return [{"role": "user", "content": content}]


def usage_of(u):
    read, written = u.cache_read_input_tokens or 0, u.cache_creation_input_tokens or 0
    return {"input": u.input_tokens + read + written, "output": u.output_tokens, "cached": read, "written": written}


def facts_of(m):
    opaque = [getattr(b, "signature", None) or getattr(b, "data", None) for b in m.content if b.type in ("thinking", "redacted_thinking")]
    return {"text": "".join(b.text for b in m.content if b.type == "text"), "thought": "".join(b.thinking for b in m.content if b.type == "thinking"),
            "signature": "".join(filter(None, opaque)), "refusal": "", "calls": calls_of((b.name, b.input) for b in m.content if b.type == "tool_use"),
            "stop": m.stop_reason, "usage": usage_of(m.usage)}


def raised(call):
    try:
        call()
    except anthropic.APIError as e:
        body = e.body if isinstance(e.body, dict) else {}
        return {"facts": {"raised": type(e).__name__, "status": getattr(e, "status_code", None), "type": (body.get("error") or {}).get("type"),
                          "says": (body.get("error") or {}).get("message")}}
    return {"facts": {"raised": None}}


def ask(model, content, **more):
    return strict(client.messages.create(model=model, messages=user(content), **base, **more))


def whole(case):
    def run(model):
        m = ask(model, "case:" + case, tools=tools)
        return {"facts": facts_of(m), "raw": m.to_dict()}
    return run


def stream(case):
    def run(model):
        with client.messages.create(model=model, messages=user("case:" + case), tools=tools, stream=True, **base) as events:
            raw = [strict(e).to_dict() for e in events if e.type != "ping"]
        with client.messages.stream(model=model, messages=user("case:" + case), tools=tools, **base) as helper:
            message = helper.get_final_message()
        return {"facts": facts_of(message), "raw": raw}
    return run


def parse(model):
    m = client.messages.parse(model=model, messages=user("case:json"), output_format=Person, **base)
    return {"facts": {"parsed": m.parsed_output.model_dump(), "told": seen("age")}}


def loop(model):
    messages = user("case:parallel")
    for case, word in (("thought-tool", "sunny in"), ("text", "rain in")):
        m = client.messages.create(model=model, messages=messages, tools=tools, **base)
        results = [{"type": "tool_result", "tool_use_id": b.id, "content": "%s %d" % (word, i)} for i, b in enumerate(b for b in m.content if b.type == "tool_use")]
        messages = [*messages, {"role": "assistant", "content": m.content}, *user([*results, {"type": "text", "text": "case:" + case}])]
    m = client.messages.create(model=model, messages=messages, tools=tools, **base)
    return {"facts": dict(facts_of(m), told=seen("sunny in 0", "sunny in 1", "rain in 0"), signed=seen("c2lnLTk5"))}


def image(model):
    content = [{"type": "text", "text": "What is this? case:text"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]
    return {"facts": dict(facts_of(ask(model, content)), told=seen(PNG))}


def thinking(model):
    """Thinking asked for by a budget, with a cached system prompt and a forced choice left to the model."""
    m = client.messages.create(model=model, max_tokens=4096, messages=user("case:thought"), thinking={"type": "enabled", "budget_tokens": 2000},
                               system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}])
    return {"facts": facts_of(m)}


def abort(model):
    events = client.messages.create(model=model, messages=user("case:slow"), stream=True, **base)
    got = [next(events) for _ in range(5)]
    events.close()
    return {"facts": {"began": len(got), "left": left()}}


for case in [*CASES, "written"]:
    add("messages", "whole", case, whole(case))
    add("messages", "stream", case, stream(case))
add("messages", "parse", "structured", parse)
add("messages", "loop", "text", loop)
add("messages", "image", "text", image)
add("messages", "thinking", "thought", thinking)
add("messages", "abort", "slow", abort)
for case in ERRORS:
    add("messages", "error", case, lambda model, case=case: raised(lambda: ask(model, "case:" + case)))
    add("messages", "error-stream", case, lambda model, case=case: raised(lambda: stream(case)(model)))
add("messages", "broken", "broken", lambda model: raised(lambda: stream("broken")(model)))
add("messages", "models", "own", lambda model: {"facts": {"listed": model in [strict(m).id for m in client.models.list()]}}, own=True)
add("messages", "count", "own", lambda model: {"facts": {"tokens": client.messages.count_tokens(model=model, messages=user("Hello there, how are you today?")).input_tokens}}, own=True)

if __name__ == "__main__":
    main()
