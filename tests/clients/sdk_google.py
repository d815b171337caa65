"""Google's SDK for Python: generateContent."""
import base64

from google import genai
from google.genai import errors, types

from sdk_lib import *

client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=BASE, timeout=10000))
tools = [types.Tool(function_declarations=[types.FunctionDeclaration(name=n, description=d, parameters_json_schema=p) for n, d, p in TOOLS])]


def config(**more):
    return types.GenerateContentConfig(automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True), **more)


def facts_of(chunks):
    facts = {"text": "", "thought": "", "refusal": "", "calls": [], "stop": None, "usage": None}
    for chunk in chunks:
        for c in chunk.candidates or []:
            for p in (c.content and c.content.parts) or []:
                if p.function_call:
                    facts["calls"].append([p.function_call.name, p.function_call.args or {}])
                elif p.thought:
                    facts["thought"] += p.text or ""
                else:
                    facts["text"] += p.text or ""
            facts["stop"] = c.finish_reason.value if c.finish_reason else facts["stop"]
        if u := chunk.usage_metadata:
            facts["usage"] = {"input": u.prompt_token_count, "output": (u.candidates_token_count or 0) + (u.thoughts_token_count or 0),
                              "cached": u.cached_content_token_count or 0, "thought": u.thoughts_token_count or 0}
    return facts


def plain(x):
    return x.model_dump(mode="json", exclude_none=True, exclude={"sdk_http_response", "parsed"})


def raised(call):
    try:
        call()
    except errors.APIError as e:
        return {"facts": {"raised": type(e).__name__, "status": e.code, "type": e.status, "says": e.message}}
    return {"facts": {"raised": None}}


def ask(model, contents, **more):
    return client.models.generate_content(model=model, contents=contents, config=config(**more))


def whole(case):
    def run(model):
        r = ask(model, "case:" + case, tools=tools)
        return {"facts": facts_of([r]), "raw": plain(r)}
    return run


def stream(case):
    def run(model):
        chunks = list(client.models.generate_content_stream(model=model, contents="case:" + case, config=config(tools=tools)))
        return {"facts": facts_of(chunks), "raw": [plain(c) for c in chunks]}
    return run


def parse(model):
    r = ask(model, "case:json", response_mime_type="application/json", response_schema=Person)
    return {"facts": {"parsed": r.parsed.model_dump(), "told": seen("age")}}


def loop(model):
    contents = [types.Content(role="user", parts=[types.Part(text="case:parallel")])]
    for case, word in (("thought-tool", "sunny in"), ("text", "rain in")):
        r = ask(model, contents, tools=tools)
        results = [types.Part(function_response=types.FunctionResponse(id=c.id, name=c.name, response={"output": "%s %d" % (word, i)})) for i, c in enumerate(r.function_calls)]
        contents += [r.candidates[0].content, types.Content(role="user", parts=results), types.Content(role="user", parts=[types.Part(text="case:" + case)])]
    r = ask(model, contents, tools=tools)
    return {"facts": dict(facts_of([r]), told=seen("sunny in 0", "sunny in 1", "rain in 0"), signed=seen("c2lnLTk5"))}


def image(model):
    r = ask(model, ["What is this? case:text", types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")])
    return {"facts": dict(facts_of([r]), told=seen(PNG) + seen(PNG.replace("+", "-").replace("/", "_")))}      # this SDK writes base64 for URLs


def settings(model):
    r = ask(model, "case:thought", system_instruction="Be brief.", temperature=0.5, top_p=0.9, max_output_tokens=4096,
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2000))
    return {"facts": dict(facts_of([r]), told=seen("Be brief."))}


def abort(model):
    chunks = client.models.generate_content_stream(model=model, contents="case:slow", config=config())
    got = [next(chunks) for _ in range(3)]
    chunks.close()
    return {"facts": {"began": len(got), "left": left()}}


for case in CASES:
    add("gemini", "whole", case, whole(case))
    add("gemini", "stream", case, stream(case))
add("gemini", "parse", "structured", parse)
add("gemini", "loop", "text", loop)
add("gemini", "image", "text", image)
add("gemini", "settings", "thought", settings)
add("gemini", "abort", "slow", abort)
for case in ERRORS:
    add("gemini", "error", case, lambda model, case=case: raised(lambda: ask(model, "case:" + case)))
    add("gemini", "error-stream", case, lambda model, case=case: raised(lambda: stream(case)(model)))
add("gemini", "broken", "broken", lambda model: raised(lambda: stream("broken")(model)))
add("gemini", "models", "own", lambda model: {"facts": {"listed": "models/" + model in [m.name for m in client.models.list()]}}, own=True)
add("gemini", "count", "own", lambda model: {"facts": {"tokens": client.models.count_tokens(model=model, contents="Hello there, how are you today?").total_tokens}}, own=True)

if __name__ == "__main__":
    main()
