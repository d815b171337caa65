"""The official OpenAI SDK for Python, sync and async. Runs under majors 2 and 3 alike."""

import asyncio
import base64
import json
import struct

import httpx        # carries the SDK's major 2
import httpx2       # carries 3
import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

import lib
from lib import AUTO, ERRORS, HELLO, MODEL, ODD, ONE_TOOL, PERSON, TIME, TWO_TOOLS, WEATHER, scenario

client = OpenAI(base_url=lib.BASE, api_key=lib.KEY, timeout=10, max_retries=0)
chat = client.chat.completions


def user(text):
    return [{"role": "user", "content": text}]


def whole(**request):
    """One answer: what arrived on the wire and what the SDK made of it."""
    raw = chat.with_raw_response.create(**{"model": MODEL, "messages": user(HELLO)} | request)
    body = json.loads(raw.text if isinstance(raw.text, str) else raw.text())
    return {
        "facts": lib.answer_facts(body),
        "raw": {
            "status": raw.status_code,
            "type": raw.headers.get("content-type"),
            "body": body,
            "parsed": raw.parse().model_dump(mode="json", exclude_unset=True),
        },
    }


def streamed(**request):
    """All chunks. exclude_unset tells a member that is null from one that is absent."""
    raw = chat.with_raw_response.create(**{"model": MODEL, "messages": user(HELLO), "stream": True} | request)
    with raw.parse() as stream:
        chunks = [c.model_dump(mode="json", exclude_unset=True) for c in stream]
    return {
        "facts": lib.stream_facts(chunks),
        "raw": {"status": raw.status_code, "type": raw.headers.get("content-type"), "chunks": chunks},
    }


lib.add("chat", whole)
lib.add("chat_auto", lambda: whole(model=AUTO))
lib.add("chat_odd_text", lambda: whole(messages=[
    {"role": "system", "content": ODD},
    {"role": "user", "name": "someone", "content": [{"type": "text", "text": ODD}, {"type": "text", "text": HELLO}]},
]))
lib.add("chat_many_members", lambda: whole(
    temperature=0.3, top_p=0.9, max_completion_tokens=64, seed=7, stop=["\n\n", "END"], user="u-1",
    presence_penalty=0.1, frequency_penalty=-0.1, logit_bias={"50256": -100}, metadata={"purpose": "test"},
    service_tier="auto", extra_body={"vendor_member": {"nested": [1, 2.50, None, "x"]}}))
lib.add("stream", streamed)
lib.add("stream_auto", lambda: streamed(model=AUTO))
lib.add("stream_usage", lambda: streamed(stream_options={"include_usage": True}))
lib.add("stream_usage_auto", lambda: streamed(model=AUTO, stream_options={"include_usage": True}))
lib.add("stream_usage_false", lambda: streamed(stream_options={"include_usage": False}))
lib.add("stream_n", lambda: streamed(n=2))
lib.add("stream_slow", lambda: streamed(extra_headers={"x-mock-first-byte-ms": "80", "x-mock-gap-ms": "15", "x-mock-tokens": "12"}))
lib.add("stream_long", lambda: streamed(extra_headers={"x-mock-tokens": "3000"}))
lib.add("tool_single", lambda: whole(messages=user(ONE_TOOL), tools=[WEATHER]))
lib.add("tool_single_auto", lambda: whole(model=AUTO, messages=user(ONE_TOOL), tools=[WEATHER]))
lib.add("tool_choice", lambda: whole(messages=user(ONE_TOOL), tools=[WEATHER, TIME], parallel_tool_calls=False,
                                     tool_choice={"type": "function", "function": {"name": "get_weather"}}))
lib.add("tool_parallel", lambda: whole(messages=user(TWO_TOOLS), tools=[WEATHER, TIME]))
lib.add("tool_stream", lambda: streamed(messages=user(ONE_TOOL), tools=[WEATHER]))
lib.add("tool_parallel_stream", lambda: streamed(messages=user(TWO_TOOLS), tools=[WEATHER, TIME]))
lib.add("tool_stream_usage", lambda: streamed(messages=user(ONE_TOOL), tools=[WEATHER], stream_options={"include_usage": True}))
lib.add("structured", lambda: whole(response_format={
    "type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}))
lib.add("structured_stream", lambda: streamed(response_format={
    "type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}))
lib.add("json_object", lambda: whole(response_format={"type": "json_object"}))
lib.add("logprobs_n", lambda: whole(n=2, logprobs=True, top_logprobs=2))
lib.add("logprobs_stream", lambda: streamed(logprobs=True, top_logprobs=2))


class Person(BaseModel):
    name: str
    age: int


@scenario
def structured_parse():
    """The SDK's own helper: schema from a type, answer into that type."""
    done = chat.parse(model=MODEL, messages=user(HELLO), response_format=Person)
    parsed = done.choices[0].message.parsed
    return {"facts": {"parsed": isinstance(parsed, Person)}, "raw": done.model_dump(mode="json")}


@scenario
def stream_helper():
    """The SDK's event stream, which assembles tool deltas and complains about odd ones."""
    events = []
    with chat.stream(model=MODEL, messages=user(TWO_TOOLS), tools=[
        {**t, "function": {**t["function"], "strict": True}} for t in (WEATHER, TIME)
    ]) as stream:
        for event in stream:
            events.append(event.type)
        done = stream.get_final_completion()
    calls = done.choices[0].message.tool_calls or []
    return {
        "facts": {"tools": [[c.function.name, json.loads(c.function.arguments)] for c in calls],
                  "finish": done.choices[0].finish_reason},
        "raw": {"events": events, "final": done.model_dump(mode="json")},
    }


@scenario
def multi_turn():
    """Ask, be asked for a tool, answer it, get text. The second request carries the first's ids."""
    messages = user(ONE_TOOL)
    first = chat.create(model=MODEL, messages=messages, tools=[WEATHER])
    message = first.choices[0].message
    messages.append(message.model_dump(mode="json", exclude_unset=True))
    for call in message.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps({"celsius": 11})})
    messages.append({"role": "user", "content": "Thanks. And now in words?"})
    second = chat.create(model=MODEL, messages=messages)
    facts = lib.answer_facts(second.model_dump(mode="json"))
    facts["first_tools"] = len(message.tool_calls)
    return {"facts": facts, "raw": [first.model_dump(mode="json"), second.model_dump(mode="json")]}


@scenario
def keep_alive():
    """Several requests on one pool, answers not mixed up."""
    texts = [whole(messages=user(f"{HELLO} {i}"), extra_headers={"x-mock-tokens": str(3 + i)})["facts"]["text"] for i in range(5)]
    return {"facts": {"distinct": len(set(texts))}, "raw": texts}


@scenario
def concurrent():
    async def run():
        async with AsyncOpenAI(base_url=lib.BASE, api_key=lib.KEY, timeout=10, max_retries=0) as many:
            async def one(i):
                text = ""
                async for c in await many.chat.completions.create(
                        model=MODEL, messages=user(f"{HELLO} {i}"), stream=True,
                        extra_headers={"x-mock-tokens": str(5 + i), "x-mock-gap-ms": "3"}):
                    text += c.choices[0].delta.content or ""
                return text
            return await asyncio.gather(*[one(i) for i in range(16)])
    texts = asyncio.run(run())
    return {"facts": {"distinct": len(set(texts))}, "raw": texts}


# ---- Aborts


@scenario
def abort_stream():
    def abort():
        stream = chat.create(model=MODEL, messages=user(HELLO), stream=True,
                             extra_headers={"x-mock-tokens": "400", "x-mock-gap-ms": "20"})
        seen = 0
        for _ in stream:
            seen += 1
            if seen == 3:
                break
        stream.close()
        return {"seen": seen}
    return lib.after_abort(abort)


@scenario
def abort_before_first_byte():
    def abort():
        async def run():
            async with AsyncOpenAI(base_url=lib.BASE, api_key=lib.KEY, timeout=10, max_retries=0) as one:
                task = asyncio.create_task(one.chat.completions.create(
                    model=MODEL, messages=user(HELLO), extra_headers={"x-mock-delay-ms": "8000"}))
                await asyncio.sleep(0.2)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    return "cancelled"
        return asyncio.run(run())
    return lib.after_abort(abort)


@scenario
def abort_stream_before_first_byte():
    def abort():
        try:
            with chat.create(model=MODEL, messages=user(HELLO), stream=True, timeout=0.3,
                             extra_headers={"x-mock-delay-ms": "8000"}) as stream:
                return [c.model_dump(mode="json") for c in stream]
        except openai.APIConnectionError as e:
            return type(e).__name__
    return lib.after_abort(abort)


# ---- Errors


def failed(call):
    try:
        call()
    except openai.APIStatusError as e:
        return {
            "facts": {"status": e.status_code, "class": type(e).__name__, "code": e.code, "type": e.type,
                      "param": e.param, "message": e.body.get("message") if isinstance(e.body, dict) else None},
            "raw": {"text": str(e), "body": e.body, "content_type": e.response.headers.get("content-type"),
                    "retry-after": e.response.headers.get("retry-after"),
                    "retry-after-ms": e.response.headers.get("retry-after-ms")},
        }
    except (httpx.TransportError, httpx2.TransportError) as e:  # the SDK lets these out of a stream that breaks
        return {"facts": {"status": None, "class": type(e).__name__, "message": str(e)}, "raw": None}
    except openai.APIError as e:        # an error event inside a stream
        return {"facts": {"status": None, "class": type(e).__name__, "code": e.code, "type": e.type,
                          "param": e.param, "message": e.message}, "raw": {"body": e.body}}
    return {"facts": {"status": 200}, "raw": None}


for name, headers in ERRORS.items():
    lib.add(name, lambda headers=headers: failed(lambda: whole(extra_headers=headers)))
lib.add("error_stream_429", lambda: failed(lambda: streamed(extra_headers=ERRORS["error_429"])))
lib.add("error_stream_500", lambda: failed(lambda: streamed(extra_headers=ERRORS["error_500"])))
lib.add("error_in_stream", lambda: failed(lambda: streamed(extra_headers={"x-mock-malformed": "error-event"})))
lib.add("error_reset_stream", lambda: failed(lambda: streamed(extra_headers={"x-mock-reset-at-byte": "b1500", "x-mock-tokens": "9"})))
lib.add("unknown_model", lambda: failed(lambda: whole(model="no-such-model")))
lib.add("bad_request", lambda: failed(lambda: chat.create(model=MODEL, messages="not a list")))


@scenario
def retry():
    """429 once, then an answer; the SDK's default two retries must see it through."""
    done = client.with_options(max_retries=2).chat.completions.create(model=MODEL, messages=user(HELLO), extra_headers={
        "x-mock-status": "429", "x-mock-fail-first": "1", "x-mock-retry-after-ms": "30", "x-mock-key": "retry-" + lib.UNIQUE})
    body = done.model_dump(mode="json")
    return {"facts": lib.answer_facts(body), "raw": body}


# ---- The other endpoints


def embedded(**request):
    done = client.embeddings.create(**{"model": MODEL, "input": ["first text", "second " + ODD]} | request)
    body = done.model_dump(mode="json", exclude_unset=True)
    vectors = []
    for item in body["data"]:
        v = item["embedding"]
        if isinstance(v, str):
            packed = base64.b64decode(v)
            v = struct.unpack(f"<{len(packed) // 4}f", packed)
        vectors.append(list(v))
    return {"facts": {"vectors": len(vectors), "same_size": len({len(v) for v in vectors}) == 1, "size": len(vectors[0])},
            "raw": body}


lib.add("embeddings", embedded)                 # asks base64, hands out floats
lib.add("embeddings_float", lambda: embedded(encoding_format="float"))
lib.add("embeddings_base64", lambda: embedded(encoding_format="base64"))
lib.add("embeddings_one", lambda: embedded(input="just one", dimensions=8))


@scenario
def completions():
    body = client.completions.create(model=MODEL, prompt=HELLO, max_tokens=16).model_dump(mode="json", exclude_unset=True)
    return {"facts": lib.answer_facts(body), "raw": body}


def completions_streamed(**request):
    chunks = [c.model_dump(mode="json", exclude_unset=True)
              for c in client.completions.create(model=MODEL, prompt=HELLO, stream=True, **request)]
    return {"facts": lib.stream_facts(chunks), "raw": chunks}


lib.add("completions_stream", completions_streamed)
lib.add("completions_stream_usage", lambda: completions_streamed(stream_options={"include_usage": True}))


@scenario
def models():
    listed = [m.model_dump(mode="json") for m in client.models.list()]
    return {"facts": {"ids": [m["id"] for m in listed], "objects": sorted({m["object"] for m in listed}),
                      "shape": all({"id", "object", "created", "owned_by"} <= set(m) for m in listed)}, "raw": None}


lib.main()
