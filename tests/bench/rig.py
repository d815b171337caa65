"""What the benchmarks share: processes pinned to cores, their CPU and memory as the kernel counts them, load.

Core 0 carries the fake provider and the load generator, core 1 the gateway under test. Everything listens on
loopback; every process is stopped by its pid. Standard library only."""
import fcntl, json, mmap, os, random, resource, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

import chart

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
SIGNALBOX = os.environ.get("SIGNALBOX", os.path.join(BUILD, "signalbox"))
MOCKLLM = os.environ.get("MOCKLLM", os.path.join(BUILD, "mockllm"))
LOADGEN = os.environ.get("LOADGEN", os.path.join(BUILD, "loadgen"))
OUT = os.environ.get("BENCH_OUT", os.path.join(ROOT, "build", "bench"))
LOAD_CORE, GATEWAY_CORE = 0, min(1, (os.cpu_count() or 1) - 1)
PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
CHAT = "/v1/chat/completions"
running = []


def say(text=""):
    print(text, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- processes ----

def start(args, core, log, env=None, cwd=None):
    with open(os.path.join(OUT, log + ".log"), "wb") as f:
        p = subprocess.Popen(["taskset", "-c", str(core), *args], stdout=f, stderr=f, stdin=subprocess.DEVNULL,
                             env=dict(os.environ, **(env or {})), cwd=cwd)
    running.append(p)
    return p


def stop(p):
    if p in running:
        running.remove(p)
    if p.poll() is None:
        p.send_signal(signal.SIGTERM)
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def stop_all():
    for p in list(running):
        stop(p)


def wait_port(port, p, seconds=10.0):
    """Until somebody listens; polls finely, because cold starts are measured by it. Returns seconds waited."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return time.monotonic() - begun
        except OSError:
            if p.poll() is not None:
                break
            time.sleep(0.001)
    raise SystemExit("%s does not listen on port %d; its log is in %s" % (p.args[3], port, OUT))


def tree(pid):
    pids = [pid]
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as f:
                for child in f.read().split():
                    pids += tree(int(child))
    except OSError:
        pass
    return pids


def cpu(pid):
    """(user, system) seconds of a process, its threads and its children."""
    user = system = 0
    for one in tree(pid):
        with open("/proc/%d/stat" % one) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        user += int(fields[11])
        system += int(fields[12])
    return user / TICK, system / TICK


def rss(pid):
    """Resident bytes of a process and its children."""
    total = 0
    for one in tree(pid):
        with open("/proc/%d/statm" % one) as f:
            total += int(f.read().split()[1]) * PAGE
    return total


# ---- bodies ----

def body_chat(model="auto", **more):
    """About 1 KB."""
    return json.dumps({"model": model, "messages": [
        {"role": "system", "content": "You are a helpful assistant. " * 12},
        {"role": "user", "content": "Tell me about the history of railways and signal boxes in a few sentences. " * 7}],
        "temperature": 0.7, **more})


def body_agent(model="auto", **more):
    """About 76 KB: the turn of a coding agent with 24 tools."""
    chance = random.Random(5)
    phrases = ["Reads", "a file", "from the", "workspace and", "returns its", "content with line", "numbers."]
    tools = [{"type": "function", "function": {
        "name": "tool_%d" % i, "description": " ".join(chance.choice(phrases) for _ in range(60)),
        "parameters": {"type": "object", "required": ["param_0"], "properties": {
            "param_%d" % k: {"type": "string", "description": "the parameter number %d of the tool, a path or a pattern" % k}
            for k in range(8)}}}} for i in range(24)]
    messages = [{"role": "system", "content": "You are a coding agent. " * 200}]

    def whole():
        return json.dumps({"model": model, "messages": messages, "tools": tools, "tool_choice": "auto",
                           "temperature": 0.2, **more})
    while len(whole()) <= 75500:
        call = "call_%d" % len(messages)
        messages.append({"role": "user", "content": "Please look at the failing test and fix it.\nIt prints \"expected 3\".\n" * 3})
        messages.append({"role": "assistant", "content": None, "tool_calls": [{"id": call, "type": "function", "function": {
            "name": "tool_1", "arguments": json.dumps({"param_0": "src/main.c", "param_1": "a\nb"})}}]})
        messages.append({"role": "tool", "tool_call_id": call, "content": "int main(void)\n{\n    return 0;\n}\n" * 20})
    messages.append({"role": "user", "content": "Now run the tests again."})
    return whole()


def as_messages(text):
    """The same request in Anthropic's dialect: what a client of Messages would have sent."""
    chat = json.loads(text)
    out = {"model": chat["model"], "max_tokens": 1024, "messages": []}
    if chat.get("stream"):
        out["stream"] = True
    if chat.get("temperature"):
        out["temperature"] = chat["temperature"]
    if chat.get("tools"):
        out["tools"] = [{"name": t["function"]["name"], "description": t["function"]["description"],
                         "input_schema": t["function"]["parameters"]} for t in chat["tools"]]
        out["tool_choice"] = {"type": "auto"}
    for m in chat["messages"]:
        if m["role"] == "system":
            out["system"] = m["content"]
        elif m["role"] == "tool":
            out["messages"].append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": m["tool_call_id"], "content": m["content"]}]})
        elif m.get("tool_calls"):
            out["messages"].append({"role": "assistant", "content": [
                {"type": "tool_use", "id": c["id"], "name": c["function"]["name"], "input": json.loads(c["function"]["arguments"])} for c in m["tool_calls"]]})
        else:
            out["messages"].append({"role": m["role"], "content": m["content"]})
    return json.dumps(out)


def body_file(name, text):
    path = os.path.join(OUT, name + ".json")
    with open(path, "w") as f:
        f.write(text)
    return path


# ---- those who are measured ----

def mock_start(*extra):
    port = free_port()
    p = start([MOCKLLM, "--listen", "127.0.0.1:%d" % port, *extra], LOAD_CORE, "mockllm")
    wait_port(port, p)
    return p, port


def nginx_start(upstream):
    """A plain proxy as kind to nginx as its manual allows: one worker, kept connections, bodies in memory, and the
    access log that Debian's nginx has by default (combined, to a file, unbuffered)."""
    port = free_port()
    path = os.path.join(OUT, "nginx.conf")
    with open(path, "w") as f:
        f.write("""%sworker_processes 1; daemon off; pid %s/nginx.pid; error_log %s/nginx.err;
events { worker_connections 16384; }
http {
  access_log %s/nginx.access.log; client_body_buffer_size 256k; client_max_body_size 64m;
  keepalive_requests 100000000; client_body_temp_path %s/nginx-body; proxy_temp_path %s/nginx-proxy;
  fastcgi_temp_path %s/nginx-f; uwsgi_temp_path %s/nginx-u; scgi_temp_path %s/nginx-s;
  upstream m { server 127.0.0.1:%d; keepalive 256; keepalive_requests 100000000; }
  server { listen 127.0.0.1:%d backlog=4096; location / {
    proxy_pass http://m; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 600s; } }
}
""" % (("user root; " if os.geteuid() == 0 else ""), OUT, OUT, OUT, OUT, OUT, OUT, OUT, OUT, upstream, port))
    p = start([shutil.which("nginx") or "/usr/sbin/nginx", "-c", path], GATEWAY_CORE, "nginx")
    wait_port(port, p)
    return p, port


def signalbox_start(upstream, name="signalbox", text=None, core=GATEWAY_CORE):
    """With the configuration `text`, or bench.yaml. p.admin: its other port; p.cold_start: seconds until it listened."""
    port, admin = free_port(), free_port()
    if text is None:
        with open(os.path.join(ROOT, "tests/bench/bench.yaml")) as f:
            text = f.read()
    path = os.path.join(OUT, name + ".yaml")
    log = os.path.join(OUT, name + ".access.log")
    with open(path, "w") as f:
        f.write(text.replace("@UPSTREAM@", "127.0.0.1:%d" % upstream).replace("@LOG@", log))
    begun = time.monotonic()
    p = start([SIGNALBOX, "serve", "-c", path, "--listen", "127.0.0.1:%d" % port, "--admin", "127.0.0.1:%d" % admin], core, name)
    p.begun, p.admin = begun, admin
    wait_port(port, p)
    p.cold_start = time.monotonic() - begun
    return p, port


# ---- load ----

def load(port, *options, path=CHAT):
    args = ["taskset", "-c", str(LOAD_CORE), LOADGEN, *map(str, options), "127.0.0.1:%d%s" % (port, path)]
    p = subprocess.run(args, capture_output=True, text=True, timeout=900)
    if not p.stdout:
        raise SystemExit("loadgen: %s" % p.stderr.strip())
    return json.loads(p.stdout)


def load_cpu(pid, port, *options, **more):
    """Load, and the CPU microseconds a request that `pid` took for it."""
    logs_empty()
    before = cpu(pid)
    got = load(port, *options, **more)
    after = cpu(pid)
    n = max(got["answered"], 1)
    got["user_us"] = (after[0] - before[0]) / n * 1e6
    got["system_us"] = (after[1] - before[1]) / n * 1e6
    got["cpu_us"] = got["user_us"] + got["system_us"]
    return got


def verdict(figures, bars):
    """figures: (what, section, value) rows; bars: section -> (">=" or "<=", number)."""
    say("\n%-44s %12s %10s" % ("", "got", "bar"))
    for what, section, got in figures:
        sign, bar = bars[section]
        is_held = got >= bar if sign == ">=" else got <= bar
        say("%-44s %12.3f %10s %s" % (what, got, "%s %g" % (sign, bar), "" if is_held else "MISSED"))


def finish(name, results, parts):
    """name.json with every round, and a page with charts."""
    results["machine"]["load_average_after"] = os.getloadavg()[0]
    with open(os.path.join(OUT, name + ".json"), "w") as f:
        json.dump(results, f, indent=1)
    with open(os.path.join(OUT, name + ".html"), "w") as f:
        f.write(chart.frame(results["machine"], parts))
    say("\nwritten: %s/%s.json, %s.html" % (os.path.relpath(OUT), name, name))


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def machine():
    model = "?"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": os.uname().release, "load_average": os.getloadavg()[0],
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def memory_touch():
    """A fresh virtual machine has memory that its host has not backed yet; who touches it first pays. That must not be
    whoever happens to write the longer log, so it is touched here."""
    with open("/proc/meminfo") as f:
        free = next(int(l.split()[1]) for l in f if l.startswith("MemFree")) * 1024
    size = min(4 << 30, free // 2) & ~0xfffff
    if size > 0:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)).close()


def lock_take():
    """The cores are the machine's: two runs at once would measure each other."""
    global lock
    lock = open(os.path.join(tempfile.gettempdir(), "signalbox-bench.lock"), "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another benchmark is running on this machine: waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def logs_empty():
    """Access logs grow by gigabytes; what counts is that they are written, not that they stay."""
    for name in os.listdir(OUT):
        if name.endswith(".access.log"):
            os.truncate(os.path.join(OUT, name), 0)


def out_prepare():
    os.makedirs(OUT, exist_ok=True)
    lock_take()
    logs_empty()
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)     # all that is started here inherits it: neighbours disturb less
    except PermissionError:
        pass
    try:                                            # 10,000 streams take two descriptors each
        resource.setrlimit(resource.RLIMIT_NOFILE, (65536, 65536))
    except (ValueError, PermissionError):
        pass
    memory_touch()
    for need in (SIGNALBOX, MOCKLLM, LOADGEN):
        if not os.path.exists(need):
            sys.exit("%s is missing: run `make bench`, which builds it" % need)
