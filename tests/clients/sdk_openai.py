"""OpenAI's SDK for Python: Chat Completions and Responses."""
import openai
from openai.types.responses import ResponseReasoningItem

from sdk_lib import *

client = openai.OpenAI(base_url=BASE + "/v1", api_key=KEY, max_retries=0, timeout=10)
chat_tools = [{"type": "function", "function": {"name": n, "description": d, "parameters": p}} for n, d, p in TOOLS]
flat_tools = [{"type": "function", "name": n, "description": d, "parameters": p, "strict": False} for n, d, p in TOOLS]
PICTURE = "data:image/png;base64," + PNG


def user(text):
    return [{"role": "user", "content": text}]


def raised(call):
    try:
        call()
    except openai.APIError as e:
        return {"facts": {"raised": type(e).__name__, "status": getattr(e, "status_code", None), "type": e.type, "says": e.message}}
    return {"facts": {"raised": None}}


# ---- Chat Completions


def chat_usage(u):
    return u and {"input": u.prompt_tokens, "output": u.completion_tokens, "cached": u.prompt_tokens_details.cached_tokens if u.prompt_tokens_details else 0,
                  "thought": u.completion_tokens_details.reasoning_tokens if u.completion_tokens_details else 0}


def chat_facts(answer):
    (choice,) = answer.choices
    m = choice.message
    return {"text": m.content or "", "thought": getattr(m, "reasoning_content", None) or "", "refusal": m.refusal or "",
            "calls": calls_of((c.function.name, c.function.arguments) for c in m.tool_calls or []), "stop": choice.finish_reason, "usage": chat_usage(answer.usage)}


def chat(model, text, **more):
    return strict(client.chat.completions.create(model=model, messages=user(text), **more))


def chat_whole(case):
    def run(model):
        answer = chat(model, "case:" + case, tools=chat_tools)
        return {"facts": chat_facts(answer), "raw": answer.to_dict()}
    return run


def chat_stream(case):
    def run(model):
        facts, thought, chunks, calls = {}, "", [], {}
        text = refusal = ""
        with client.chat.completions.create(model=model, messages=user("case:" + case), tools=chat_tools, stream=True,
                                            stream_options={"include_usage": True}) as stream:
            for chunk in stream:
                chunks.append(strict(chunk).to_dict())
                if chunk.usage:
                    facts["usage"] = chat_usage(chunk.usage)
                for c in chunk.choices:
                    text += c.delta.content or ""
                    refusal += c.delta.refusal or ""
                    thought += getattr(c.delta, "reasoning_content", None) or ""
                    for t in c.delta.tool_calls or []:
                        call = calls.setdefault(t.index, ["", ""])
                        call[0] += t.function.name or ""
                        call[1] += t.function.arguments or ""
                    facts["stop"] = c.finish_reason or facts.get("stop")
        return {"facts": dict(facts, text=text, thought=thought, refusal=refusal, calls=calls_of(calls.values())), "raw": chunks}
    return run


def chat_helper(case):
    """The helper of the SDK, which insists on order."""
    def run(model):
        with client.chat.completions.stream(model=model, messages=user("case:" + case), tools=chat_tools, stream_options={"include_usage": True}) as stream:
            kinds = [e.type for e in stream]
            answer = stream.get_final_completion()
        facts = chat_facts(answer)
        return {"facts": dict(facts, done=[k for k in dict.fromkeys(kinds) if k.endswith(".done")])}
    return run


def chat_parse(model):
    answer = client.chat.completions.parse(model=model, messages=user("case:json"), response_format=Person)
    return {"facts": {"parsed": answer.choices[0].message.parsed.model_dump(), "told": seen("age")}}


def chat_loop(model):
    messages = user("case:parallel")
    first = client.chat.completions.create(model=model, messages=messages, tools=chat_tools).choices[0].message
    results = [{"role": "tool", "tool_call_id": c.id, "content": "sunny in %d" % i} for i, c in enumerate(first.tool_calls)]
    answer = client.chat.completions.create(model=model, messages=[*messages, first, *results, *user("case:thought-tool")], tools=chat_tools)
    second = answer.choices[0].message
    result = {"role": "tool", "tool_call_id": second.tool_calls[0].id, "content": "rain"}
    last = chat_whole_of(model, [*messages, first, *results, *user("case:thought-tool"), second, result, *user("case:text")])
    return {"facts": dict(chat_facts(last), told=seen("sunny in 0", "sunny in 1", "rain"))}


def chat_whole_of(model, messages):
    return client.chat.completions.create(model=model, messages=messages, tools=chat_tools)


def chat_image(model):
    content = [{"type": "text", "text": "What is this? case:text"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    return {"facts": dict(chat_facts(client.chat.completions.create(model=model, messages=user(content))), told=seen(PNG))}


def chat_abort(model):
    stream = client.chat.completions.create(model=model, messages=user("case:slow"), stream=True)
    got = [next(stream) for _ in range(3)]
    stream.close()
    return {"facts": {"began": len(got), "left": left()}}


def read(stream):
    for _ in stream:
        pass


for case in CASES:
    add("chat", "whole", case, chat_whole(case))
    add("chat", "stream", case, chat_stream(case))
for case in ("text", "parallel", "thought-tool"):
    add("chat", "helper", case, chat_helper(case))
add("chat", "parse", "structured", chat_parse)
add("chat", "loop", "text", chat_loop)
add("chat", "image", "text", chat_image)
add("chat", "abort", "slow", chat_abort)
for case in ERRORS:
    add("chat", "error", case, lambda model, case=case: raised(lambda: chat(model, "case:" + case)))
    add("chat", "error-stream", case, lambda model, case=case: raised(lambda: chat_stream(case)(model)))
add("chat", "broken", "broken", lambda model: raised(lambda: chat_stream("broken")(model)))
add("chat", "models", "own", lambda model: {"facts": {"listed": model in [strict(m).id for m in client.models.list()]}}, own=True)


# ---- Responses


def response_facts(r):
    thought = "".join("".join(s.text for s in i.summary) or "".join(c.text for c in i.content or []) for i in r.output if isinstance(i, ResponseReasoningItem))
    refusal = "".join(c.refusal for i in r.output if i.type == "message" for c in i.content if c.type == "refusal")
    return {"text": r.output_text, "thought": thought, "refusal": refusal, "calls": calls_of((i.name, i.arguments) for i in r.output if i.type == "function_call"),
            "stop": r.incomplete_details.reason if r.incomplete_details else r.status,
            "usage": {"input": r.usage.input_tokens, "output": r.usage.output_tokens, "cached": r.usage.input_tokens_details.cached_tokens,
                      "thought": r.usage.output_tokens_details.reasoning_tokens}}


def respond(model, text, **more):
    return strict(client.responses.create(model=model, input=text, **more))


def responses_whole(case):
    def run(model):
        r = respond(model, "case:" + case, tools=flat_tools, store=False)
        return {"facts": response_facts(r), "raw": r.to_dict()}
    return run


def responses_stream(case):
    def run(model):
        events = []
        with client.responses.create(model=model, input="case:" + case, tools=flat_tools, store=False, stream=True) as stream:
            for e in stream:
                events.append(strict(e))
                if e.type == "error":
                    return {"facts": {"raised": "event", "says": e.message}}
                if e.type == "response.failed":
                    return {"facts": {"raised": "event", "says": e.response.error.message}}
        assert [e.sequence_number for e in events] == list(range(len(events))), "sequence numbers"
        return {"facts": response_facts(events[-1].response), "raw": [e.to_dict() for e in events]}
    return run


def responses_helper(case):
    def run(model):
        with client.responses.stream(model=model, input="case:" + case, tools=flat_tools, store=False) as stream:
            kinds = [e.type for e in stream]
            r = stream.get_final_response()
        return {"facts": dict(response_facts(r), done=list(dict.fromkeys(kinds)))}
    return run


def responses_parse(model):
    r = client.responses.parse(model=model, input="case:json", text_format=Person, store=False)
    return {"facts": {"parsed": r.output_parsed.model_dump(), "told": seen("age")}}


def responses_loop(model):
    items = user("case:parallel")
    include = {"include": ["reasoning.encrypted_content"], "store": False, "tools": flat_tools}
    for case, word in (("thought-tool", "sunny in"), ("text", "rain in")):
        r = client.responses.create(model=model, input=items, **include)
        calls = [i for i in r.output if i.type == "function_call"]
        items = [*items, *r.output, *({"type": "function_call_output", "call_id": c.call_id, "output": "%s %d" % (word, i)} for i, c in enumerate(calls)),
                 *user("case:" + case)]
    r = client.responses.create(model=model, input=items, **include)
    return {"facts": dict(response_facts(r), told=seen("sunny in 0", "sunny in 1", "rain in 0"))}


def responses_image(model):
    content = [{"type": "input_text", "text": "What is this? case:text"}, {"type": "input_image", "image_url": PICTURE, "detail": "auto"}]
    return {"facts": dict(response_facts(client.responses.create(model=model, input=user(content), store=False)), told=seen(PNG))}


def responses_abort(model):
    stream = client.responses.create(model=model, input="case:slow", stream=True, store=False)
    got = [next(stream) for _ in range(6)]
    stream.close()
    return {"facts": {"began": len(got), "left": left()}}


def kept(answer):
    """Whether the store tells an answer again as it was."""
    return strict(client.responses.retrieve(answer.id)).to_dict() == answer.to_dict()


def responses_chain(model):
    """A chain by previous_response_id: its middle is streamed, its end knows its beginning."""
    a = respond(model, "My name is Ada. case:tool", tools=flat_tools)
    call = next(i for i in a.output if i.type == "function_call")
    with client.responses.create(model=model, input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}, *user("case:thought")],
                                 tools=flat_tools, previous_response_id=a.id, stream=True) as stream:
        b = [e for e in stream][-1].response
    c = respond(model, "And now? case:text", previous_response_id=b.id)
    facts = dict(response_facts(c), told=seen("My name is Ada", "sunny", "42.", "And now?"), previous=c.previous_response_id == b.id)
    facts["kept"] = kept(a), kept(b)
    facts["items"] = sorted(strict(i).type for i in client.responses.input_items.list(b.id))
    assert "function_call_output" in facts["items"], facts["items"]
    client.responses.delete(a.id)
    facts["gone"] = raised(lambda: client.responses.retrieve(a.id))["facts"]["raised"]
    facts["unknown"] = raised(lambda: respond(model, "case:text", previous_response_id="resp_nobody"))["facts"]["status"] in (400, 404)
    return {"facts": facts}


def responses_conversation(model):
    conversation = client.conversations.create()
    respond(model, "My name is Ada. case:text", conversation=conversation.id)
    r = respond(model, "And now? case:thought", conversation=conversation.id)
    facts = dict(response_facts(r), told=seen("My name is Ada", "And now?"))
    facts["items"] = sorted(i.type for i in client.conversations.items.list(conversation.id))
    client.conversations.delete(conversation.id)
    facts["gone"] = raised(lambda: client.conversations.retrieve(conversation.id))["facts"]["raised"]
    return {"facts": facts}


for case in CASES:
    add("responses", "whole", case, responses_whole(case))
    add("responses", "stream", case, responses_stream(case))
for case in ("text", "parallel", "thought-tool"):
    add("responses", "helper", case, responses_helper(case))
add("responses", "parse", "structured", responses_parse)
add("responses", "loop", "text", responses_loop)
add("responses", "image", "text", responses_image)
add("responses", "abort", "slow", responses_abort)
for case in ERRORS:
    add("responses", "error", case, lambda model, case=case: raised(lambda: respond(model, "case:" + case, store=False)))
    add("responses", "error-stream", case, lambda model, case=case: raised(lambda: responses_stream(case)(model)))
add("responses", "broken", "broken", responses_stream("broken"))
add("responses", "chain", "own", responses_chain, own=True)
add("responses", "conversation", "own", responses_conversation, own=True)
add("responses", "count", "own", lambda model: {"facts": {"tokens": client.responses.input_tokens.count(model=model, input="Hello there, how are you today?").input_tokens}}, own=True)

if __name__ == "__main__":
    main()
