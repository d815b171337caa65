"""botocore as the judge of what signalbox says to Bedrock, and of what the provider says back.

Reads the requests that the provider received (JSON, on stdin) and prints one line {"label", "wrong"} for every check:
  - a Converse body fits botocore's own model of the operation: no unknown member, no missing one, right types and enums;
  - the path is the one that botocore makes of the model's id;
  - botocore's signer, given the same headers and time, comes to the same signature.
Then botocore asks the provider itself, so that its parser reads the frames that signalbox reads, both CRCs included."""
import base64
import json
import os
import re
import sys
import urllib.parse

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EventStreamError
from botocore.validate import ParamValidator

MOCK = os.environ["CLIENT_MOCK_URL"]
ACCESS = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], os.environ.get("AWS_SESSION_TOKEN"))
REGION = "us-east-1"

session = botocore.session.Session()
client = session.create_client("bedrock-runtime", region_name=REGION, endpoint_url=MOCK, aws_access_key_id=ACCESS.access_key,
                               aws_secret_access_key=ACCESS.secret_key, config=Config(retries={"total_max_attempts": 1}))
model = client.meta.service_model
OPERATIONS = {"converse": "Converse", "converse-stream": "ConverseStream", "invoke": "InvokeModel", "invoke-with-response-stream": "InvokeModelWithResponseStream"}


def say(label, wrong):
    print(json.dumps({"label": label, "wrong": wrong}), flush=True)


def typed(value, shape):
    """JSON as it is on the wire -> the parameters that botocore validates: blobs are base64 there."""
    if shape.type_name == "structure" and isinstance(value, dict):
        if getattr(shape, "is_document_type", False):
            return value
        return {k: typed(v, shape.members[k]) if k in shape.members else v for k, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [typed(v, shape.member) for v in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {k: typed(v, shape.value) for k, v in value.items()}
    if shape.type_name == "blob" and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    return value


def enums(value, shape, path=""):
    """botocore leaves the enums to the service."""
    if shape.type_name == "structure" and isinstance(value, dict) and not getattr(shape, "is_document_type", False):
        for k, v in value.items():
            if k in shape.members:
                yield from enums(v, shape.members[k], path + "." + k)
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            yield "%s: a union holds one member, not %s" % (path, sorted(value))
    elif shape.type_name == "list" and isinstance(value, list):
        for i, v in enumerate(value):
            yield from enums(v, shape.member, "%s[%d]" % (path, i))
    elif shape.type_name == "string" and isinstance(value, str):
        if getattr(shape, "enum", None) and value not in shape.enum:
            yield "%s: %r is none of %s" % (path, value, shape.enum)
        pattern = shape.metadata.get("pattern")
        if pattern and not re.fullmatch(pattern, value):
            yield "%s: %r does not match %s" % (path, value, pattern)


def body_of(request):
    path = urllib.parse.urlsplit(request["path"]).path
    operation = model.operation_model(OPERATIONS[path.rsplit("/", 1)[1]])
    shape = operation.input_shape
    parameters = {"modelId": urllib.parse.unquote(path.split("/")[2])}
    if operation.name.startswith("Converse"):
        try:
            parameters.update(typed(request["body"], shape))
        except ValueError as e:
            return ["a blob is not base64: %s" % e]
        report = ParamValidator().validate(parameters, shape)
        wrong = [report.generate_report()] if report.has_errors() else []
        return wrong + list(enums(parameters, shape))
    return []


def path_of(request):
    path = urllib.parse.urlsplit(request["path"]).path
    _, _, name, operation = path.split("/", 3)
    want = urllib.parse.quote(urllib.parse.unquote(name), safe="-_.~")
    return [] if name == want else ["the path says %s, botocore says %s" % (name, want)]


def signature_of(request):
    headers = {k.lower(): v for k, v in request["headers"].items()}
    got = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})", headers.get("authorization", ""))
    if not got:
        return ["authorization is %r" % headers.get("authorization")]
    signer = SigV4Auth(ACCESS, "bedrock", REGION)
    again = AWSRequest("POST", "http://%s%s" % (headers["host"], request["path"]), data=request["raw"].encode(),
                       headers={k: headers[k] for k in got[2].split(";")})
    again.context["timestamp"] = headers["x-amz-date"]
    if "x-amz-content-sha256" in headers:
        again.headers["X-Amz-Content-SHA256"] = headers["x-amz-content-sha256"]
    text = signer.string_to_sign(again, signer.canonical_request(again))
    wrong = []
    if signer.signature(text, again) != got[3]:
        wrong.append("botocore signs otherwise; its canonical request:\n%s" % signer.canonical_request(again))
    if got[1] != signer.scope(again):
        wrong.append("the scope is %s, botocore says %s" % (got[1], signer.scope(again)))
    missing = {"host", "x-amz-date"} - set(got[2].split(";"))
    if missing:
        wrong.append("not signed: %s" % sorted(missing))
    return wrong


# ---- The provider's frames


def ask(case, **more):
    return dict({"modelId": "mock", "messages": [{"role": "user", "content": [{"text": "case:" + case}]}]}, **more)


def streamed(case):
    text, thought, calls, stop, usage = "", "", {}, None, None
    for event in client.converse_stream(**ask(case))["stream"]:
        (kind, e), = event.items()
        if kind == "contentBlockStart" and "toolUse" in e["start"]:
            calls[e["contentBlockIndex"]] = [e["start"]["toolUse"]["name"], ""]
        elif kind == "contentBlockDelta":
            d = e["delta"]
            text += d.get("text", "")
            thought += d.get("reasoningContent", {}).get("text", "")
            if "toolUse" in d:
                calls[e["contentBlockIndex"]][1] += d["toolUse"]["input"]
        elif kind == "messageStop":
            stop = e["stopReason"]
        elif kind == "metadata":
            usage = e["usage"]
    return text, thought, [[n, json.loads(a)] for n, a in calls.values()], stop, usage


def whole(case):
    r = client.converse(**ask(case))
    content = r["output"]["message"]["content"]
    return ("".join(b.get("text", "") for b in content), "".join(b["reasoningContent"]["reasoningText"]["text"] for b in content if "reasoningContent" in b),
            [[b["toolUse"]["name"], b["toolUse"]["input"]] for b in content if "toolUse" in b], r["stopReason"], r["usage"])


def invoked(case):
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": [{"role": "user", "content": "case:" + case}]})
    stream = client.invoke_model_with_response_stream(modelId="mock", body=body)["body"]
    return [json.loads(e["chunk"]["bytes"])["type"] for e in stream]


def raised(call):
    try:
        call()
    except ClientError as e:
        return e.response["Error"]["Code"]
    return None


def provider_checks():
    for case in ("text", "parallel", "thought-tool", "length", "cached"):
        a, b = whole(case), streamed(case)
        say("frames: %s" % case, [] if a == b else ["whole %r, streamed %r" % (a, b)])
    kinds = invoked("text")
    say("frames: invoke", [] if kinds[0] == "message_start" and kinds[-1] == "message_stop" else [str(kinds)])
    for case, code in (("rate-limit", "ThrottlingException"), ("invalid", "ValidationException"), ("overloaded", "ServiceUnavailableException"),
                       ("server-error", "InternalServerException")):
        got = raised(lambda: client.converse(**ask(case)))
        say("error: %s" % case, [] if got == code else ["botocore read %s" % got])
    try:
        streamed("broken")
        say("frames: broken", ["no exception"])
    except EventStreamError as e:
        say("frames: broken", [] if e.response["Error"]["Code"] == "modelStreamErrorException" else [str(e)])


def main():
    requests = json.load(sys.stdin)
    for check, name in ((body_of, "bodies"), (path_of, "paths"), (signature_of, "signatures")):
        wrong = {}
        for q in requests:
            for line in check(q):
                wrong.setdefault(line, q)
        for kind in ("converse", "invoke"):
            n = sum(q["format"] == kind for q in requests)
            say("%s of %d %s requests" % (name, n, kind), ["%s\n           %s" % (line, q["raw"][:300]) for line, q in wrong.items() if q["format"] == kind])
    provider_checks()


if __name__ == "__main__":
    main()
