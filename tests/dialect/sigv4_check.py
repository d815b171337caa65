#!/usr/bin/env python3
"""Usage: sigv4_check.py SIGV4_SIGN [N]: N (2000) random requests, signed by us and by botocore. Ends with `N passed, M failed`."""
import datetime, random, subprocess, sys

try:
    import botocore.auth, botocore.awsrequest, botocore.credentials
except ImportError:
    print("skip: sigv4_check: botocore is not installed")
    sys.exit(0)

tool, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000
rng = random.Random(1)
moment = datetime.datetime(2026, 11, 25, 12, 0, 0)


class Frozen(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return moment

    @classmethod
    def now(cls, tz=None):
        return moment.replace(tzinfo=tz)


if hasattr(botocore.auth, "get_current_datetime"):
    botocore.auth.get_current_datetime = lambda *a, **k: moment
botocore.auth.datetime = type("module", (), {"datetime": Frozen, "timezone": datetime.timezone})


def word(alphabet, least, most):
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(least, most)))


SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~"


def escaped(text):
    return "".join(c if c in SAFE else "%%%02X" % b for c in text for b in c.encode())


cases, lines = [], []
for i in range(n):
    key, secret = word(SAFE, 16, 20), word(SAFE + "/+=", 40, 40)
    token = word(SAFE + "/+=", 50, 200) if rng.random() < 0.5 else ""
    region = rng.choice(["us-east-1", "eu-central-1", "us-gov-west-1"])
    method = rng.choice(["POST", "GET"])
    host = "bedrock-runtime.%s.amazonaws.com" % region
    path = "/model/" + escaped("m" + word(SAFE + ":/ @é", 1, 40)) + rng.choice(["/converse", "/converse-stream", "/invoke"])
    query = "&".join("%s=%s" % (escaped(word(SAFE, 1, 5)), escaped(word(SAFE + " /é", 0, 5))) for _ in range(rng.randint(0, 4)))
    body = bytes(rng.randrange(256) for _ in range(rng.randint(0, 300)))
    date = moment.strftime("%Y%m%dT%H%M%SZ")
    cases.append((key, secret, token, region, method, host, path, query, body))
    lines += [key, secret, token, date, region, method, host, path, query, body.hex()]
ours = subprocess.run([tool], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True).stdout.splitlines()

passed = failed = 0
for (key, secret, token, region, method, host, path, query, body), mine in zip(cases, ours):
    request = botocore.awsrequest.AWSRequest(method=method, url="https://" + host + path + ("?" + query if query else ""), data=body)
    auth = botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret, token or None), "bedrock", region)
    auth.add_auth(request)
    theirs = request.headers["Authorization"]
    passed += theirs == mine
    failed += theirs != mine
    if theirs != mine and failed <= 3:
        print(path, query, "\n ours  ", mine, "\n theirs", theirs)
print("%d passed, %d failed" % (passed, failed + n - len(ours)))
sys.exit(failed > 0 or len(ours) != n)
