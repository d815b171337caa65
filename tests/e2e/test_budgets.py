#!/usr/bin/env python3
"""Keys, limits and budgets over real sockets: who comes in, how fast, and that money is never overrun, not even by a kill."""
import asyncio, base64, hashlib, hmac, http.server, json, random, signal

from harness import *

mock = Mock()
folder = tempfile.TemporaryDirectory(prefix="e2e-state-")

MODELS = """version: v0.3
providers:
  defaults: {default_model: cheap}
  models:
    - {name: cheap, pricing: {prompt_per_1m: %(cheap)s, completion_per_1m: %(cheap2)s}, backend_refs: [{endpoint: "127.0.0.1:%(port)d"}]}
    - {name: dear, pricing: {prompt_per_1m: %(dear)s, completion_per_1m: %(dear2)s}, backend_refs: [{endpoint: "127.0.0.1:%(port)d"}]}
routing:
  modelCards: [{name: cheap}, {name: dear}]
  decisions:
    - {name: all, priority: 1, modelRefs: [{model: dear}, {model: cheap}]}
global:
  services: {observability: {tracing: {enabled: false}, access_log: "off"}%(services)s}
%(rest)s
"""
PRICES = {"cheap": (100e-6, 200e-6), "dear": (1000e-6, 4000e-6)}


def gateway(rest="", services="", env=None, scale=1):
    return Gateway(MODELS % {"port": mock.port, "rest": rest, "services": services, "cheap": 100 * scale, "cheap2": 200 * scale,
                             "dear": 1000 * scale, "dear2": 4000 * scale}, env=env)


def api(gw, method, path, body=None, headers=None):
    r = gw.request(method, path, body, headers, port=gw.admin)
    r.json = json.loads(r.body) if r.body and r.getheader("content-type", "").startswith("application/json") else None
    return r


def error(r):
    return json.loads(r.body)["error"]


# ---- keys ----

@test
def keys_are_made_used_rotated_and_refused():
    gw = gateway("  identity: {require_key: always}\n")
    assert gw.chat().status == 401
    assert error(gw.chat())["code"] == "invalid_api_key"
    made = api(gw, "POST", "/api/v1/keys", {"id": "ann", "owner": "ann", "team": "red", "models": ["cheap"]})
    assert made.status == 201, made.body
    key = made.json["key"]
    assert key.startswith("sbx-ann-") and "sha256" not in made.body.decode()
    for header in ({"authorization": "Bearer " + key}, {"x-api-key": key}, {"api-key": key}, {"x-goog-api-key": key}):
        r = gw.chat(headers=header)
        assert r.status == 200, r.body
        assert r.getheader("x-vsr-selected-model") == "cheap"       # dear is not hers
        sent = json.dumps(mock.last())
        assert key not in sent, "the key went on to the provider"
    assert gw.request("POST", "/v1/chat/completions?key=" + key, {"model": "auto", "messages": []}).status in (200, 400)
    assert key not in json.dumps(mock.last())
    auth = {"authorization": "Bearer " + key}
    assert gw.chat(headers=auth, model="dear").status == 403
    assert gw.chat(headers={"authorization": "Bearer " + key + "x"}).status == 401
    assert api(gw, "POST", "/api/v1/keys", {"id": "ann"}).status == 409
    assert api(gw, "POST", "/api/v1/keys", {"id": "x", "bugdet": 1}).status == 400
    turned = api(gw, "POST", "/api/v1/keys/ann/rotate", {"grace": "1h"}).json["key"]
    assert gw.chat(headers=auth).status == 200 and gw.chat(headers={"x-api-key": turned}).status == 200
    turned = api(gw, "POST", "/api/v1/keys/ann/rotate").json["key"]
    assert gw.chat(headers=auth).status == 401 and gw.chat(headers={"x-api-key": turned}).status == 200
    assert api(gw, "PATCH", "/api/v1/keys/ann", {"disabled": True}).status == 200
    assert gw.chat(headers={"x-api-key": turned}).status == 401
    listed = api(gw, "GET", "/api/v1/keys").json["keys"]
    assert [k["id"] for k in listed] == ["ann"] and listed[0]["disabled"] is True
    assert api(gw, "DELETE", "/api/v1/keys/ann").status == 200
    assert api(gw, "GET", "/api/v1/keys/ann").status == 404
    gw.stop()


@test
def roles_of_the_management_api_are_obeyed():
    gw = gateway(services=""", management_api: {auth: {mode: bearer, tokens: [{env: T_ADMIN, role: admin}, {env: T_MONEY, role: money}],
      roles: {admin: ["*"], money: [spend.read, budgets.read]}}}""", env={"T_ADMIN": "a1", "T_MONEY": "m1"})
    money, admin = {"authorization": "Bearer m1"}, {"authorization": "Bearer a1"}
    assert api(gw, "GET", "/api/v1/spend").status == 401
    assert api(gw, "GET", "/api/v1/spend", headers=money).status == 200
    assert api(gw, "GET", "/api/v1/budgets", headers=money).status == 200
    assert api(gw, "GET", "/api/v1/keys", headers=money).status == 403
    assert api(gw, "POST", "/api/v1/budgets", {"name": "x", "amount_usd": 1}, headers=money).status == 403
    assert api(gw, "POST", "/api/v1/budgets", {"name": "x", "amount_usd": 1}, headers=admin).status == 201
    gw.stop()


# ---- tokens ----

def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """An identity provider with an elliptic-curve key made by openssl, and a door that can be shut."""

    def __init__(self):
        self.keys, self.n_fetched, self.is_away = {}, 0, False
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.n_fetched += 1
                body = json.dumps({"keys": [k["jwk"] for k in issuer.keys.values()]}).encode()
                self.send_response(500 if issuer.is_away else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_address[1]

    def add(self, kid):
        path = os.path.join(folder.name, kid + ".pem")
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path], check=True)
        der = subprocess.run(["openssl", "ec", "-in", path, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
        point = der[-64:]
        self.keys[kid] = {"path": path, "jwk": {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
                                                "x": b64(point[:32]), "y": b64(point[32:])}}

    def token(self, kid, **claims):
        body = {"iss": "https://idp.test", "aud": "gateway", "exp": int(time.time()) + 600, "sub": "ann", "team": "red"}
        body.update(claims)
        part = b64(json.dumps({"alg": "ES256", "kid": kid, "typ": "JWT"}).encode()) + "." + b64(json.dumps(body).encode())
        der = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.keys[kid]["path"]], input=part.encode(), check=True,
                             capture_output=True).stdout
        at, out = 2, b""
        for _ in range(2):                      # two INTEGERs, to 32 bytes each
            n = der[at + 1]
            out += der[at + 2:at + 2 + n].lstrip(b"\0").rjust(32, b"\0")
            at += 2 + n
        return part + "." + b64(out)


@test
def tokens_of_an_identity_provider_open_the_door():
    idp = Issuer()
    idp.add("k1")
    gw = gateway("""  identity:
    issuers:
      - {issuer: "https://idp.test", jwks_url: "http://127.0.0.1:%d/keys", audience: [gateway], claims: {owner: sub}}
""" % idp.port)
    bearer = lambda token: {"authorization": "Bearer " + token}
    assert gw.chat().status == 401
    good = idp.token("k1")
    assert gw.chat(headers=bearer(good)).status == 200
    assert gw.chat(headers=bearer(good)).status == 200
    assert idp.n_fetched == 1
    for bad in (idp.token("k1", aud="other"), idp.token("k1", iss="https://evil"), idp.token("k1", exp=int(time.time()) - 3600),
                good[:-6] + "AAAAAA", good.split(".")[0] + "." + b64(b"{}") + "." + good.split(".")[2]):
        assert gw.chat(headers=bearer(bad)).status == 401
    head = b64(b'{"alg":"none","kid":"k1"}')
    assert gw.chat(headers=bearer(head + "." + good.split(".")[1] + ".")).status == 401
    secret = json.dumps(idp.keys["k1"]["jwk"]).encode()
    part = b64(b'{"alg":"HS256","kid":"k1"}') + "." + good.split(".")[1]
    assert gw.chat(headers=bearer(part + "." + b64(hmac.new(secret, part.encode(), hashlib.sha256).digest()))).status == 401
    assert gw.chat(headers=bearer(good.replace(good[5], "~", 1))).status == 401
    idp.is_away = True                          # what is known goes on working
    assert gw.chat(headers=bearer(idp.token("k1", sub="bob"))).status == 200
    idp.is_away = False
    idp.add("k2")                               # a new key: fetched when it is first used, not sooner than 10 s after the last time
    wait_for(lambda: gw.chat(headers=bearer(idp.token("k2"))).status == 200, 20, "the new key")
    before = idp.n_fetched
    idp.add("k3")
    del idp.keys["k3"]["jwk"]["kid"]            # unknown ids do not make us hammer the provider
    idp.keys["k3"]["jwk"]["kid"] = "elsewhere"
    for _ in range(20):
        assert gw.chat(headers=bearer(idp.token("k3"))).status == 401
    assert idp.n_fetched <= before + 2
    gw.stop()
    idp.server.shutdown()


# ---- rates ----

@test
def rates_are_limited_and_told():
    gw = gateway("  quotas:\n    - {name: slow, match: {user: ann}, per: [user], limits: {requests_per_minute: 3}}\n")
    ann = {"x-authz-user-id": "ann"}
    for left in (2, 1, 0):
        r = gw.chat(headers=ann)
        assert r.status == 200
        assert r.getheader("x-ratelimit-limit-requests") == "3" and r.getheader("x-ratelimit-remaining-requests") == str(left)
        assert r.getheader("x-ratelimit-reset-requests")
    r = gw.chat(headers=ann)
    assert r.status == 429 and error(r)["code"] == "rate_limit_exceeded" and 0 < int(r.getheader("retry-after")) <= 65
    assert gw.chat(headers={"x-authz-user-id": "bob"}).status == 200
    gw.stop()


@test
def vsr_rate_limits_work():
    gw = gateway(services=""", ratelimit: {providers: [{type: local-limiter, rules: [
      {name: free, match: {group: free}, requests_per_unit: 3, unit: hour}, {name: all, requests_per_unit: 100, unit: hour}]}]}""")
    free = {"x-authz-user-id": "ann", "x-authz-user-groups": "free"}
    assert [gw.chat(headers=free).status for _ in range(5)] == [200, 200, 200, 429, 429]
    r = gw.chat(headers=free)
    assert r.getheader("x-ratelimit-limit") == "3" and r.getheader("x-ratelimit-remaining") == "0", r.headers
    assert error(r)["type"] == "rate_limit_error" and r.getheader("x-vsr-response-path") == "rate_limited"
    assert gw.chat(headers={"x-authz-user-id": "eve", "x-authz-user-groups": "premium"}).status == 200
    gw.stop()


@test
def requests_at_once_are_limited():
    gw = gateway("  quotas:\n    - {name: few, limits: {concurrent: 2}}\n")
    results = []
    threads = [threading.Thread(target=lambda: results.append(gw.chat(headers={"x-mock-delay-ms": "500"}).status)) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [200, 200, 429, 429, 429], results
    assert gw.chat().status == 200
    gw.stop()


# ---- money ----

@test
def cheaper_models_take_over_and_then_it_ends():
    gw = gateway("  budgets:\n    - {name: b, amount_usd: 0.02, on_budget: reroute}\n")
    usage = {"x-mock-usage": "10,1"}            # dear: 0.014 USD, cheap: 0.0012
    assert gw.chat(headers=usage, max_tokens=1).getheader("x-vsr-selected-model") == "dear"
    seen = []
    for _ in range(30):
        r = gw.chat(headers=usage, max_tokens=1)
        seen.append(r.getheader("x-vsr-selected-model") if r.status == 200 else r.status)
    assert seen[0] == "cheap" and seen[-1] == 429 and seen.count("dear") == 0, seen
    r = gw.chat(headers=usage, max_tokens=1)
    assert error(r)["code"] == "budget_exceeded" and r.getheader("x-should-retry") == "false" and not r.getheader("retry-after")
    b = api(gw, "GET", "/api/v1/budgets/b").json
    assert 0.015 < b["subjects"][0]["spent_usd"] <= 0.02, b
    gw.stop()


@test
def spending_is_told_by_key_model_and_day():
    gw = gateway("""  identity:
    keys: [{id: ann, secret: s1, owner: ann, team: red}, {id: bob, secret: s2, owner: "=bob", team: red}]
""")
    for key, model, n in (("ann-s1", "cheap", 3), ("bob-s2", "dear", 2), ("ann-s1", "dear", 1)):
        for _ in range(n):
            assert gw.chat(headers={"x-api-key": "sbx-" + key, "x-mock-usage": "100,10"}, model=model).status == 200
    wait_for(lambda: api(gw, "GET", "/api/v1/spend").json["total"]["requests"] == 6, message="the books")
    spend = api(gw, "GET", "/api/v1/spend?group_by=key,model").json
    rows = {(r["key"], r["model"]): (r["requests"], round(r["cost_usd"], 6)) for r in spend["rows"]}
    assert rows == {("ann", "cheap"): (3, 0.036), ("bob", "dear"): (2, 0.28), ("ann", "dear"): (1, 0.14)}, rows
    assert spend["total"]["requests"] == 6 and abs(spend["total"]["cost_usd"] - 0.456) < 1e-9
    assert len(api(gw, "GET", "/api/v1/spend?group_by=team,day").json["rows"]) == 1
    assert api(gw, "GET", "/api/v1/spend?from=2099-01-01").json["total"]["requests"] == 0
    assert api(gw, "GET", "/api/v1/spend?group_by=planet").status == 400
    csv = api(gw, "GET", "/api/v1/spend?group_by=user&format=csv")
    assert csv.getheader("content-type").startswith("text/csv")
    assert csv.body.decode().splitlines()[1].startswith("\"'=bob\",2,200,"), csv.body
    out = subprocess.run([SIGNALBOX, "spend", "--by", "key", "--admin", "127.0.0.1:%d" % gw.admin], capture_output=True, text=True)
    assert out.returncode == 0 and "bob" in out.stdout and "0.28" in out.stdout, out
    gw.stop()


@test
def the_command_line_works_with_and_without_a_gateway():
    state = os.path.join(folder.name, "cli.db")
    run = lambda *args: subprocess.run([SIGNALBOX, *args], capture_output=True, text=True)
    made = run("key", "create", "ann", "--owner", "ann", "--budget", "50", "--period", "day", "--expires", "90d", "--state", state)
    assert made.returncode == 0 and made.stdout.startswith("sbx-ann-"), made
    assert run("budget", "set", "teams", "--amount", "100", "--per", "team", "--match", "team=*", "--state", state).returncode == 0
    assert run("key", "create", "ann", "--state", state).returncode == 1
    assert run("key", "create", "--expires", "soon", "--state", state).returncode == 2
    assert run("key", "list", "--admin", "127.0.0.1:1").returncode == 2
    gw = gateway("  state: {path: %s}\n  identity: {require_key: always}\n" % state)
    assert gw.chat(headers={"x-api-key": made.stdout.strip()}).status == 200
    where = ["--admin", "127.0.0.1:%d" % gw.admin]
    listed = json.loads(run("key", "list", "--json", *where).stdout)["keys"]
    assert listed[0]["id"] == "ann" and listed[0]["budget"]["amount_usd"] == 50
    assert "teams" in run("budget", "list", *where).stdout
    turned = run("key", "rotate", "ann", *where)
    assert gw.chat(headers={"x-api-key": made.stdout.strip()}).status == 401
    assert gw.chat(headers={"x-api-key": turned.stdout.strip()}).status == 200
    assert run("key", "disable", "ann", *where).returncode == 0
    assert gw.chat(headers={"x-api-key": turned.stdout.strip()}).status == 401
    assert run("key", "delete", "ann", *where).returncode == 0
    assert run("key", "delete", "ann", *where).returncode == 1
    gw.stop()


# ---- a thousand clients, one key, one dollar ----

class Clients:
    """So many connections that each send one request after the other; every answer is noted with its time and true cost."""

    def __init__(self, gw, n, key, seed, most_prompt, scale=1):
        self.gw, self.n, self.key, self.most_prompt, self.scale = gw, n, key, most_prompt, scale
        self.random = random.Random(seed)
        self.answers, self.refusals, self.in_flight, self.peak, self.open_cost = [], 0, 0, 0, {}
        self.is_over = False

    async def one(self, i):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.gw.data)
        except OSError:
            return
        number = 0
        while not self.is_over:
            model = self.random.choice(["cheap", "dear"])
            max_tokens = self.random.randint(1, 20)
            prompt, completion = self.random.randint(1, self.most_prompt), self.random.randint(0, max_tokens)
            cost = self.scale * (prompt * PRICES[model][0] + completion * PRICES[model][1])
            body = json.dumps({"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": "word " * 60}]})
            self.open_cost[i] = cost
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
            try:
                writer.write(("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\nx-mock-usage: %d,%d\r\n"
                              "x-mock-delay-ms: %d\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                              % (self.key, prompt, completion, self.random.randint(1, 60), len(body), body)).encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(re.search(r"content-length: (\d+)", head, re.I).group(1))
                await reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError):
                return                          # killed: this one's cost stays in open_cost
            self.in_flight -= 1
            del self.open_cost[i]
            status = int(head.split(" ")[1])
            if status == 200:
                self.answers.append((time.monotonic(), cost))
            elif status == 429 and "x-should-retry: false" in head:
                self.refusals += 1
                number += 1
                if number >= 3:
                    break
            else:
                raise AssertionError(head)
        writer.close()

    async def all(self, until=None):
        tasks = [asyncio.ensure_future(self.one(i)) for i in range(self.n)]
        if until:
            await asyncio.sleep(until)
            self.gw.p.send_signal(signal.SIGKILL)
            self.killed = time.monotonic()
            self.is_over = True
        done = await asyncio.gather(*tasks, return_exceptions=True)
        bad = [d for d in done if isinstance(d, AssertionError)]
        if bad:
            raise bad[0]


def spent(gw):
    return api(gw, "GET", "/api/v1/spend").json["total"]


@test
def a_thousand_clients_on_one_dollar_never_overrun_it():
    gw = gateway("""  state: {path: %s}
  identity: {keys: [{id: one, secret: s, budget: {amount_usd: 1, period: total}}]}
""" % os.path.join(folder.name, "dollar.db"), scale=0.05)
    # The estimate of these prompts is 75 tokens and more: what is used stays below it, so the budget holds to the micro-dollar.
    clients = Clients(gw, 1000, "sbx-one-s", 1, 70, scale=0.05)
    asyncio.run(clients.all())
    told = sum(c for _, c in clients.answers)
    settled = wait_for(lambda: spent(gw) if spent(gw)["requests"] >= len(clients.answers) else None, message="the books")
    print("     %d answers, %.6f USD by the answers, %.6f USD in the books, %d refused, %d at once"
          % (len(clients.answers), told, settled["cost_usd"], clients.refusals, clients.peak))
    assert settled["cost_usd"] <= 1.0 and told <= 1.0 + 1e-9
    assert abs(settled["cost_usd"] - told) < 1e-4, (settled, told)
    assert settled["cost_usd"] > 0.85           # and it could be used
    assert clients.peak > 500
    key = api(gw, "GET", "/api/v1/keys/one").json
    assert abs(key["budget"]["spent_usd"] - settled["cost_usd"]) < 1e-9 and key["budget"]["reserved_usd"] == 0, key
    gw.stop()


@test
def wrong_estimates_overrun_by_what_is_in_flight_at_most():
    gw = gateway("""  identity: {keys: [{id: one, secret: s, budget: {amount_usd: 1, period: total, reserve: expected}}]}
""")
    clients = Clients(gw, 200, "sbx-one-s", 2, 200)     # up to three times what the gateway can know
    asyncio.run(clients.all())
    settled = wait_for(lambda: spent(gw) if spent(gw)["requests"] >= len(clients.answers) else None, message="the books")
    dearest = 200 * PRICES["dear"][0] + 20 * PRICES["dear"][1]
    print("     %d answers, %.6f USD in the books, %d at once" % (len(clients.answers), settled["cost_usd"], clients.peak))
    assert settled["cost_usd"] <= 1 + clients.peak * dearest
    gw.stop()


@test
def a_kill_loses_the_last_moment_and_counts_nothing_twice():
    state = os.path.join(folder.name, "kill.db")
    rest = """  state: {path: %s}
  identity: {keys: [{id: one, secret: s, budget: {amount_usd: 100000, period: total}}]}
""" % state
    before = 0.0
    for round in range(4):
        gw = gateway(rest)
        assert abs(spent(gw)["cost_usd"] - before) < 1e-9       # nothing appears or goes by starting
        clients = Clients(gw, 300, "sbx-one-s", 10 + round, 70)
        asyncio.run(clients.all(until=1.0 + 0.37 * round))
        gw.p.wait(10)
        gw.dir.cleanup()
        gw = gateway(rest)
        now = spent(gw)["cost_usd"]
        key = api(gw, "GET", "/api/v1/keys/one").json
        assert abs(key["budget"]["spent_usd"] - now) < 1e-9, (key, now)     # the budget and the spending are one commit
        kept = now - before
        answered = sum(c for _, c in clients.answers)
        running = sum(clients.open_cost.values())
        late = 0.0                              # how old the oldest answer is that is not in the books
        missing = answered - kept
        for at, cost in sorted(clients.answers, reverse=True):
            if missing <= 1e-6:
                break
            missing -= cost
            late = max(0.0, clients.killed - at)
        print("     %d answers of %.4f USD, %.4f kept, the oldest lost one %.0f ms before the kill" %
              (len(clients.answers), answered, kept, late * 1000))
        assert kept <= answered + running + 1e-3, "counted twice"
        assert late < 0.15 * SLOW, late         # 20 ms, and what a busy machine adds
        before = now
        gw.stop()


if __name__ == "__main__":
    try:
        main()
    finally:
        mock.stop()
        folder.cleanup()
