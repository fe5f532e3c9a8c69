#!/usr/bin/env python3
"""report.py [FILE]: puts the results of bench.py (build/bench.json) into docs/performance.md, between its two marks, and draws
docs/performance.svg: cost of a call against the rate, and against calls that are up."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
DOCS = os.path.join(HERE, "../../docs")
LOST = 0.001  # of the calls: where more were lost, what is left compares nothing
BEGIN, END = "<!-- results: make bench-report -->", "<!-- end of results -->"


def ratio(r, key="ratio_us"):
    return f"{r[key]['median']:.2f} ({r[key]['min']:.2f} to {r[key]['max']:.2f})" if key in r else "no Kamailio here"


def met(good):
    return "met" if good else "**not met**"


def against(r, goal, key="ratio_us"):
    if key not in r:
        return "-"
    if any(side["lost"] > LOST * r["rate"] * r["seconds"] * r["pairs"] for side in r.values() if isinstance(side, dict) and "lost" in side):
        return "**no result**: calls were lost"
    return met(r[key]["median"] <= goal)


def us(r, name):
    if name not in r:
        return "-"
    lost = r[name]["lost"]
    return f"{r[name]['us']['median']:.0f} us" + (f" ({lost:.0f} lost)" if lost else "")


def compared(name, text, goal):
    def lines(r):
        yield (f"{text}, {r['rate']:,}/s", f"{goal} of Kamailio", us(r, "siphook"), us(r, "kamailio"), ratio(r), against(r, goal), name)
    return lines


def echo(r):
    for p in r["points"]:
        yield (f"the kernel alone: the datagrams of a call, sent back, {p['rate']:,} calls/s", "-",
               f"{p['us']['median']:.0f} us" + (f" ({p['lost']:.0f} lost)" if p["lost"] else ""), "-", "-", "-", "echo")


def call(r):
    yield from compared("call", "a call, UDP, Lua hook, fork and bridge", 0.22)(r)
    for key, goal, text in (("p50_us", 0.35, "p50"), ("p99_us", 0.5, "p99")):
        yield (f"delay from INVITE to 200, {text}", f"{goal} of Kamailio", f"{r['siphook'][key]['median']:.0f} us",
               f"{r['kamailio'][key]['median']:.0f} us" if "kamailio" in r else "-", ratio(r, "ratio_" + key),
               against(r, goal, "ratio_" + key), "call")


def workers(r):
    yield ("two workers, the same rate", "1.15 of one", us(r, "two"), "-", ratio(r), against(r, 1.15), "workers")


def kept(name, goal):
    def lines(r):
        yield (f"a call by {name.upper()} on {r.get('connections', 16)} kept connections", f"{goal} of UDP", us(r, name), "-", ratio(r),
               against(r, goal), name)
    return lines


def connections(r):
    for key, text in (("tcp", "a TCP connection for one OPTIONS"), ("full", "a TLS connection for one OPTIONS, full handshake"),
                      ("resumed", "the same, session resumed")):
        yield (text, "-", us(r, key), "-", "-", "-", "connections")


def saturated(r):
    yield ("highest rate without a lost call, one worker", "20,000/s", f"{r['highest']:,}/s", "-", "-",
           met(r["highest"] >= 20000), "saturated")
    if "rate" in r:
        good = r["lost"] == 0 and r["again"] <= 0.001 and r["p99_us"] < 20000
        yield (f"{r['rate']:,}/s for {r['seconds']} s", "none lost, 0.1 % again, p99 20 ms",
               f"{r['us']:.0f} us; lost {r['lost']:.0f}, again {100 * r['again']:.2f} %, p99 {r['p99_us'] / 1000:.1f} ms", "-", "-",
               met(good), "saturated")


def overload(r):
    yield (f"a costly hook at twice its highest rate ({r['highest']}/s)", "0.8 of it completes", f"{r['completed']:.0f}/s", "-",
           f"{r['share']:.2f}; {r['refused']:.0f} calls got 503", met(r["share"] >= 0.8), "overload")


def gather(r):
    for p in r["points"]:
        yield (f"a call at {r['rate']:,}/s, gather_calls={p['gather_calls']}", "-",
               f"{p['us']:.0f} us, p50 {p['p50_us']:.0f} us, p99 {p['p99_us']:.0f} us", "-", "-", "-", "gather")


def scale(r):
    yield (f"a binding, of {r['bindings']:,.0f}", "500 bytes", f"{r['binding_bytes']:.0f} bytes", "1.2 kB", "-",
           met(r["binding_bytes"] <= 500), "scale")
    yield (f"a call that is up, of {r['calls']:,.0f} beside them", "3,000 bytes", f"{r['call_bytes']:.0f} bytes", "1.7 kB", "-",
           met(r["call_bytes"] <= 3000), "scale")
    last = r["points"][-1]
    yield ("a new call then, beside an empty server", "1.1", f"{last['us']:.0f} us ({last['us_empty']:.0f} us)", "-",
           ratio(last, "ratio"), met(last["ratio"]["median"] <= 1.1), "scale")
    own, clock = (max(x) for x in zip(r["bindings_turn_us"], r["calls_turn_us"]))
    yield ("longest turn of the loop while all this came", "5 ms", f"{own / 1000:.1f} ms of its own time, {clock / 1000:.1f} ms by the clock",
           "-", "-", met(own <= 5000), "scale")
    own, clock = r["echo_turn_us"]
    yield ("the kernel alone: longest turn, the datagrams of the bindings sent back", "-",
           f"{own / 1000:.1f} ms of its own time, {clock / 1000:.1f} ms by the clock", "-", "-", "-", "scale")


def lingering(r):
    yield ("a lingering transaction", "400 bytes", f"{r['bytes']:.0f} bytes", "-", "-", met(r["bytes"] <= 400), "lingering")


def reload(r):
    yield (f"500 calls/s, {r['reloads']} reloads of 500 lines", "none lost", f"lost {r['lost']:.0f}", "-", "-", met(r["lost"] == 0), "reload")
    yield ("longest turn of the loop meanwhile", "10 ms", f"{r['turn_us'][0] / 1000:.1f} ms of its own time", "-", "-",
           met(r["turn_us"][0] <= 10000), "reload")
    yield ("longest gap between two answered calls meanwhile", "10 ms", f"{r['gap_ms']:.1f} ms", "-", f"{r['gap_ms_without']:.1f} ms without reloads",
           met(r["gap_ms"] <= 10), "reload")


def idle(r):
    yield ("a server that nobody calls", "-", f"{100 * r['share']:.2f} % of a processor", "-", "-", "-", "idle")


LINES = {"echo": echo, "call": call, "register": compared("register", "REGISTER with digest, both round trips", 0.25),
         "options": compared("options", "OPTIONS from a Lua hook", 0.35), "saturated": saturated, "workers": workers,
         "tcp": kept("tcp", 1.3), "tls": kept("tls", 1.6), "connections": connections,
         "scale": scale, "lingering": lingering, "overload": overload, "reload": reload, "idle": idle, "gather": gather}


def table(results):
    yield "| | goal | siphook | Kamailio | ratio (spread) | | one row: `make bench ROW=` |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, lines in LINES.items():
        if name in results:
            for cells in lines(results[name]):
                yield "| " + " | ".join(cells) + " |"


def profile(results):
    rows = {n: r for n, r in results.get("profile", {}).items() if isinstance(r, dict) and "shares" in r}
    if not rows:
        return
    parts = sorted({p for r in rows.values() for p in r["shares"]}, key=lambda p: -max(r["shares"].get(p, 0) for r in rows.values()))
    yield ""
    yield "Where the worker's time goes (`make bench ROW=profile`, by perf; shares of what one costs):"
    yield ""
    yield "| | cost | " + " | ".join(parts) + " |"
    yield "| --- | --- |" + " --- |" * len(parts)
    for name, r in rows.items():
        yield f"| {name} | {r['us']:.0f} us | " + " | ".join(f"{100 * r['shares'].get(p, 0):.0f} %" for p in parts) + " |"


def head(results):
    by = {}
    for name, r in results.items():
        m = r["machine"]
        by.setdefault((m["date"][:10], m["cpu"], m["processors"], m["kernel"], m["siphook"], m["command"]), []).append(
            (name, m["date"][11:], m["load"]))
    for (date, cpu, n, kernel, version, command), rows in by.items():
        yield (f"{date}, {min(r[1] for r in rows)} to {max(r[1] for r in rows)}: `{command}` on {n} x {cpu}, Linux {kernel}, {version}; load average when a row "
               f"began: {min(r[2] for r in rows):.1f} to {max(r[2] for r in rows):.1f}. Rows: {', '.join(r[0] for r in rows)}.")


# ---------------------------------------------------------------- the picture

def axis(at, limit, pixels):
    return at / limit * pixels


def chart(out, x, title, label, series, limit_x, limit_y):
    wide, high, top = 330, 220, 50
    out.append(f'<text x="{x}" y="30" font-weight="bold">{title}</text>')
    for i in range(5):
        y, value = top + high - i * high / 4, limit_y * i / 4
        out.append(f'<line x1="{x}" y1="{y}" x2="{x + wide}" y2="{y}" stroke="#ddd"/><text x="{x - 6}" y="{y + 4}" '
                   f'text-anchor="end">{value:.0f}</text>')
        out.append(f'<text x="{x + i * wide / 4}" y="{top + high + 18}" text-anchor="middle">{limit_x * i / 4:,.0f}</text>')
    out.append(f'<text x="{x + wide / 2}" y="{top + high + 38}" text-anchor="middle">{label}</text>')
    for i, (name, colour, points) in enumerate(series):
        at = [(x + axis(a, limit_x, wide), top + high - axis(b, limit_y, high)) for a, b in points]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in at)}"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in at]
        out.append(f'<text x="{x + wide}" y="{top + 12 + 16 * i}" text-anchor="end" fill="{colour}">{name}</text>')


def picture(results):
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="840" height="330" font-family="sans-serif" font-size="12">',
           '<rect width="840" height="330" fill="white"/>']
    points = results.get("curve", {}).get("points", [])
    series = [(name, colour, [(p["rate"], p[name]) for p in points if name in p])
              for name, colour in (("siphook", "#0a58ca"), ("kamailio", "#b02a37"))]
    series = [s for s in series if s[2]]
    if series:
        chart(out, 60, "CPU per call against the rate", "calls per second", series, max(p[0] for s in series for p in s[2]),
              max(p[1] for s in series for p in s[2]))
    if "scale" in results:
        points = results["scale"]["points"]
        series = [("siphook", "#0a58ca", [(p["up"], p["us"]) for p in points]),
                  ("an empty one", "#6c757d", [(p["up"], p["us_empty"]) for p in points])]
        chart(out, 470, "CPU per call against calls that are up", "calls up", series, points[-1]["up"] or 1,
              1.5 * max(max(p["us"], p["us_empty"]) for p in points))
    out += ['<text x="10" y="44">us</text>', "</svg>"]
    return "\n".join(out) + "\n"


with open(sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "../../build/bench.json")) as f:
    results = json.load(f)
path = os.path.join(DOCS, "performance.md")
with open(path) as f:
    before, rest = f.read().split(BEGIN)
after = rest.split(END)[1]
with open(path, "w") as f:
    f.write("\n".join([before + BEGIN, "", *head(results), "", *table(results), *profile(results), "", END + after.rstrip("\n")]) + "\n")
with open(os.path.join(DOCS, "performance.svg"), "w") as f:
    f.write(picture(results))
print("docs/performance.md and docs/performance.svg are written")
