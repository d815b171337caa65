"""LangChain for Python on langchain-openai."""

import asyncio
import json

import openai
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, message_to_dict
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

import lib
from lib import AUTO, ERRORS, HELLO, MODEL, ODD, ONE_TOOL, PERSON, TIME, TWO_TOOLS, WEATHER, scenario


def model(headers=None, **more):
    return ChatOpenAI(**{"model": MODEL, "base_url": lib.BASE, "api_key": lib.KEY, "timeout": 10, "max_retries": 0,
                         "default_headers": headers or {}, "stream_usage": False} | more)


def plain(message):
    """A message as JSON, without the random id that LangChain gives to a run."""
    data = message_to_dict(message)["data"]
    if str(data.get("id") or "").startswith(("lc_run-", "run-")):
        data["id"] = "run"
    return data


def message_facts(m):
    usage = m.usage_metadata and {"prompt_tokens": m.usage_metadata["input_tokens"],
                                  "completion_tokens": m.usage_metadata["output_tokens"],
                                  "total_tokens": m.usage_metadata["total_tokens"]}
    return {"text": m.content, "finish": m.response_metadata.get("finish_reason"),
            "tools": [[c["name"], c["args"]] for c in m.tool_calls], "usage": usage or None, "choices": 1,
            "logprobs": bool((m.response_metadata.get("logprobs") or {}).get("content")),
            "model": m.response_metadata.get("model_name")}


def whole(runnable, messages=HELLO):
    m = runnable.invoke(messages)
    return {"facts": message_facts(m), "raw": plain(m)}


def streamed(runnable, messages=HELLO):
    chunks = list(runnable.stream(messages))
    total = chunks[0]
    for c in chunks[1:]:
        total += c
    facts = message_facts(total)
    facts["pieces"] = sum(bool(c.content) for c in chunks)
    return {"facts": facts, "raw": [plain(c) for c in chunks]}


lib.add("chat", lambda: whole(model()))
lib.add("chat_auto", lambda: whole(model(model=AUTO)))
lib.add("chat_odd_text", lambda: whole(model(), [SystemMessage(ODD), HumanMessage([{"type": "text", "text": ODD}])]))
lib.add("chat_many_members", lambda: whole(model(temperature=0.3, top_p=0.9, max_tokens=64, seed=7, stop=["END"],
                                                 presence_penalty=0.1, model_kwargs={"user": "u-1"})))
lib.add("stream", lambda: streamed(model()))
lib.add("stream_auto", lambda: streamed(model(model=AUTO)))
lib.add("stream_usage", lambda: streamed(model(stream_usage=True)))
lib.add("tool_single", lambda: whole(model().bind_tools([WEATHER]), ONE_TOOL))
lib.add("tool_choice", lambda: whole(model().bind_tools([WEATHER, TIME], tool_choice="get_weather"), ONE_TOOL))
lib.add("tool_parallel", lambda: whole(model().bind_tools([WEATHER, TIME]), TWO_TOOLS))
lib.add("tool_stream", lambda: streamed(model().bind_tools([WEATHER]), ONE_TOOL))
lib.add("tool_parallel_stream", lambda: streamed(model().bind_tools([WEATHER, TIME]), TWO_TOOLS))
lib.add("logprobs", lambda: whole(model(logprobs=True, top_logprobs=2)))


@scenario
def structured_parse():
    done = model().with_structured_output(PERSON, method="json_schema", strict=True, include_raw=True).invoke(HELLO)
    return {"facts": {"parsed": set(done["parsed"]) == {"name", "age"}}, "raw": {"message": plain(done["raw"]), "parsed": done["parsed"]}}


@scenario
def structured_tool():
    """Structured output by a forced tool, LangChain's other way."""
    done = model().with_structured_output(PERSON, method="function_calling", include_raw=True).invoke(ONE_TOOL)
    return {"facts": {"parsed": set(done["parsed"]) == {"name", "age"}}, "raw": {"message": plain(done["raw"]), "parsed": done["parsed"]}}


@scenario
def multi_turn():
    asking = model().bind_tools([WEATHER])
    first = asking.invoke(ONE_TOOL)
    messages = [HumanMessage(ONE_TOOL), first]
    messages += [ToolMessage(json.dumps({"celsius": 11}), tool_call_id=c["id"]) for c in first.tool_calls]
    second = model().invoke(messages + [HumanMessage("Thanks. And now in words?")])
    facts = message_facts(second)
    facts["first_tools"] = len(first.tool_calls)
    return {"facts": facts, "raw": [plain(first), plain(second)]}


@scenario
def batch():
    answers = model().batch([f"{HELLO} {i}" for i in range(6)])
    assert all(isinstance(a, AIMessage) for a in answers)
    return {"facts": {"answers": len(answers)}, "raw": [plain(a) for a in answers]}


@scenario
def choices():
    done = model(n=2).generate([[HumanMessage(HELLO)]])
    return {"facts": {"choices": len(done.generations[0])}, "raw": [plain(g.message) for g in done.generations[0]]}


@scenario
def abort_stream():
    def abort():
        async def run():
            stream = model({"x-mock-tokens": "400", "x-mock-gap-ms": "20"}).astream(HELLO)
            seen = 0
            async for _ in stream:
                seen += 1
                if seen == 3:
                    break
            await stream.aclose()
            return {"seen": seen}
        return asyncio.run(run())
    return lib.after_abort(abort)


@scenario
def abort_before_first_byte():
    def abort():
        async def run():
            try:
                await asyncio.wait_for(model({"x-mock-delay-ms": "8000"}).ainvoke(HELLO), 0.3)
            except asyncio.TimeoutError:
                return "cancelled"
        return asyncio.run(run())
    return lib.after_abort(abort)


def failed(call):
    try:
        call()
    except openai.APIStatusError as e:
        return {"facts": {"status": e.status_code, "class": type(e).__name__, "code": e.code, "type": e.type, "param": e.param,
                          "message": e.body.get("message") if isinstance(e.body, dict) else None},
                "raw": {"text": str(e), "body": e.body}}
    except openai.APIError as e:
        return {"facts": {"status": None, "class": type(e).__name__, "code": e.code, "type": e.type,
                          "param": e.param, "message": e.message}, "raw": {"body": e.body}}
    return {"facts": {"status": 200}, "raw": None}


for name, headers in ERRORS.items():
    lib.add(name, lambda headers=headers: failed(lambda: whole(model(headers))))
lib.add("error_stream_429", lambda: failed(lambda: streamed(model(ERRORS["error_429"]))))
lib.add("error_in_stream", lambda: failed(lambda: streamed(model({"x-mock-malformed": "error-event"}))))
lib.add("retry", lambda: whole(model({"x-mock-status": "429", "x-mock-fail-first": "1", "x-mock-retry-after-ms": "30",
                                      "x-mock-key": "retry-" + lib.UNIQUE}, max_retries=2)))


def embedded(texts, **more):
    # check_embedding_ctx_length would fetch a tokenizer's vocabulary
    vectors = OpenAIEmbeddings(model=MODEL, base_url=lib.BASE, api_key=lib.KEY, max_retries=0,
                               check_embedding_ctx_length=False, **more).embed_documents(texts)
    return {"facts": {"vectors": len(vectors), "same_size": len({len(v) for v in vectors}) == 1, "size": len(vectors[0])}, "raw": vectors}


lib.add("embeddings", lambda: embedded(["first text", "second " + ODD]))
lib.add("embeddings_float", lambda: embedded(["first text", "second " + ODD], model_kwargs={"encoding_format": "float"}))


def completer(**more):
    return OpenAI(model=MODEL, base_url=lib.BASE, api_key=lib.KEY, timeout=10, max_retries=0, max_tokens=16, **more)


@scenario
def completions():
    done = completer().generate([HELLO])
    g = done.generations[0][0]
    usage = done.llm_output["token_usage"]
    return {"facts": {"text": g.text, "finish": g.generation_info["finish_reason"], "usage": lib.usage_facts(usage)},
            "raw": {"text": g.text, "info": g.generation_info, "usage": usage}}


@scenario
def completions_stream():
    pieces = list(completer().stream(HELLO))
    return {"facts": {"text": "".join(pieces), "pieces": len(pieces)}, "raw": pieces}


lib.main()
