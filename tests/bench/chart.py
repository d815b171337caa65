"""results.json as one self-contained HTML page: a bar chart per section, no scripts, no fonts, no links."""
import html

WIDTH, BAR, GAP, LEFT = 760, 22, 10, 150
COLOURS = {"nginx": "#9aa5b1", "signalbox": "#2f6db5", "direct": "#c9d3dd", "portkey": "#c58f3a", "litellm": "#a8574f",
           "onnxruntime": "#c58f3a"}


def bars(title, unit, rows, note=""):
    """rows: (label, value, low, high); low and high may be None. One SVG."""
    top = max([r[3] or r[1] for r in rows] + [1e-9])
    height = 34 + len(rows) * (BAR + GAP)
    scale = (WIDTH - LEFT - 150) / top
    out = ['<h2>%s</h2><svg width="%d" height="%d" role="img" aria-label="%s">' % (html.escape(title), WIDTH, height, html.escape(title))]
    for i, (label, value, low, high) in enumerate(rows):
        y = 8 + i * (BAR + GAP)
        colour = next((c for name, c in COLOURS.items() if name in label), "#7b8794")
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (LEFT - 8, y + 15, html.escape(label)))
        out.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>' % (LEFT, y, max(value, 0) * scale, BAR, colour))
        if low is not None:
            out.append('<path d="M%.1f %d H%.1f" stroke="#111" fill="none"/>' % (LEFT + low * scale, y + BAR // 2, LEFT + high * scale))
        out.append('<text x="%.1f" y="%d">%.3g %s</text>' % (LEFT + max(high or value, 0) * scale + 6, y + 15, value, html.escape(unit)))
    out.append("</svg>")
    if note:
        out.append("<p>%s</p>" % html.escape(note))
    return "".join(out)


def spread_row(name, s):
    return name, s["median"], s["min"], s["max"]


def page(results, limits):
    parts = []
    titles = {"cpu_1k": "CPU a request, 1 KB chat body", "cpu_76k": "CPU a request, 76 KB agent body with 24 tools",
              "stream": "CPU a stream of 20 events"}
    for section, title in titles.items():
        if section in results:
            r = results[section]
            rows = [spread_row(name, f["cpu_us"]) for name, f in r.items() if isinstance(f, dict)]
            bar = limits.get(section)
            note = "signalbox / nginx: %.2f%s. The line marks the lowest and the highest round." % (
                r["ratio"], ", bar %.1f" % bar[1] if bar else "")
            parts.append(bars(title, "us", rows, note))
    if "latency" in results:
        rows = [(k.replace("_", ", "), v["added_p99_ms"], None, None) for k, v in results["latency"].items()
                if isinstance(v, dict) and "direct" not in k]
        parts.append(bars("Added time to the first byte, p99, at half load", "ms", rows, "bar %.1f ms" % limits["latency"][1]))
    if "peers" in results:
        rows = [(name, p["per_core"]["median"], p["per_core"]["min"], p["per_core"]["max"]) for name, p in results["peers"].items()]
        parts.append(bars("Requests a second of one core, 1 KB chat body", "req/s", rows))
    figures = [("resident when idle", results.get("memory", {}).get("mb"), "MB"), ("an idle stream", results.get("idle", {}).get("kb"), "KB"),
               ("cold start", results.get("cold", {}).get("ms"), "ms")]
    rows = "".join("<tr><td>%s<td>%.1f %s" % (n, v, u) for n, v, u in figures if v is not None)
    return frame(results["machine"], parts + ["<table>%s</table>" % rows])


def frame(machine, parts):
    m = machine
    return ("<!doctype html><meta charset=utf-8><title>signalbox benchmarks</title><style>body{font:15px sans-serif;max-width:800px;"
            "margin:2em auto;color:#1f2933}svg text{font:13px sans-serif}td{padding:2px 12px 2px 0}h2{font-size:17px;margin:1.6em 0 .4em}"
            "p{margin:.2em 0;color:#52606d}</style><h1>signalbox benchmarks</h1><p>%s, %d cores, Linux %s, %s. Load average %.1f before.</p>%s"
            % (html.escape(m["cpu"]), m["cores"], html.escape(m["kernel"]), m["time"], m["load_average"], "".join(parts)))
