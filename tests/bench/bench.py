#!/usr/bin/env python3
"""What siphook costs, beside Kamailio where Debian's is installed.

    bench.py [-q] [-o FILE] [ROW ...]        all rows without names; -q: shorter

Rows: echo call register options tcp tls connections workers gather curve saturated overload scale lingering reload idle profile.
Server and generator share the machine; traffic stays in the loopback device of a network namespace of its own (as root; else in the machine's). What something
costs is processor time of all server processes, from /proc, divided by what was completed. Where two are compared they run in
turn, and the median of the ratios of neighbours counts. The results are added to FILE (build/bench.json), which report.py turns
into a table and a picture. docs/performance.md says more.
"""
import argparse
import atexit
import ctypes
import json
import mmap
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(HERE, "../../build")))
BASE = int(os.environ.get("BASE", "15060"))
CALLER, CALLEE = BASE + 20, BASE + 30
TICK = 1e6 / os.sysconf("SC_CLK_TCK")
KEPT = 64  # connections of the callers: phones of an office behind one server, and all of them in use
LINGER = 34  # seconds until 64*T1 is over and what is left is calls and bindings
PER_CALL = 6.5  # datagrams that come in and go out of a call: six and seven


def ticks(pid):
    """Processor time of a process and its children, microseconds."""
    pids = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            pids += f.read().split()
    total = 0
    for p in pids:
        with open(f"/proc/{p}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total * TICK


def memory(pid):
    """What it has allocated. Libraries are not in it: their share changes when other programs that use them begin and end."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
    sys.exit("this kernel has no Pss_Anon in smaps_rollup")


def backed_memory(size):
    """Memory of the machine that the host of a virtual one has found already, for as long as the result lives: it is touched and given
    back, but for a page of each megabyte. Without these the kernel would tell the host after seconds that whole blocks are free, and
    what is used first would wait for the host again: 12 us instead of 4 for a page, and for some of them milliseconds."""
    with open("/proc/meminfo") as f:
        free = next(int(line.split()[1]) * 1024 for line in f if line.startswith("MemAvailable:"))
    size, page, step = min(size, free // 2) >> 20 << 20, mmap.PAGESIZE, 1 << 20
    kept = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, size, page):
        kept[at] = 1
    for at in range(0, size, step):
        kept.madvise(mmap.MADV_DONTNEED, at + page, step - page)
    return kept


class Server:
    """A server in a process group of its own, which ends with this program at the latest."""

    def __init__(self, name, command, port, ready=True, **env):
        self.port = port
        self.log = open(os.path.join(tmp, name + ".log"), "w")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
                                        env={**os.environ, **env}, start_new_session=True)
        atexit.register(self.kill)
        if not ready:  # it does not speak SIP
            return
        for _ in range(50):
            if self.process.poll() is not None:
                break
            if load(self, 10, 1, "options", check=False).get("ok") == 1:
                return
            time.sleep(0.2)
        with open(self.log.name) as f:
            sys.exit(f"{name} does not answer on port {port}:\n{f.read()}")

    @property
    def pid(self):
        return self.process.pid

    def kill(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def end(self, politely=True):
        if politely:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                pass
        self.kill()
        self.process.wait()
        atexit.unregister(self.kill)
        self.log.close()


def siphook(name="siphook", script=os.path.join(HERE, "plan.lua"), port=BASE, workers=1, transport=None, gather_calls=None, **config):
    """transport: by which the callee is called; tls is listened for at the next port."""
    config = {"callee": f"127.0.0.1:{CALLEE}{';transport=' + transport if transport else ''}", **config}
    options = [x for k, v in config.items() for x in ("-o", f"config.{k}={v}")]
    options += ["-o", f"gather_calls={gather_calls}"] if gather_calls is not None else []
    if transport == "tls":
        options += ["-l", f"tls://127.0.0.1:{port + 1}", "-o", f"tls_certificate={certificate()}", "-o", f"tls_ca={certificate()}"]
    return Server(name, [f"{BUILD}/siphook", "run", "-s", f"{tmp}/{name}.sock", "-l", f"udp://127.0.0.1:{port}", "-l",
                         f"tcp://127.0.0.1:{port}", "-w", str(workers), *options, script], port)


def certificate():
    """One for both sides, with its key: what servers of today have, P-256."""
    path = os.path.join(tmp, "certificate.pem")
    if not os.path.exists(path):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path + ".key", "-out", path + ".crt"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(path, "w") as out:
            for part in (".crt", ".key"):
                with open(path + part) as f:
                    out.write(f.read())
    return path


def kamailio(dialog=False, workers=1, port=BASE + 10):
    if not shutil.which("kamailio"):
        return None
    run = os.path.join(tmp, "kamailio")
    os.makedirs(run, exist_ok=True)
    # In the foreground: the children are the only processes that it starts.
    return Server("kamailio", ["kamailio", "-DD", "-E", "-m", "2048", "-M", "32", "-n", str(workers), "-l", f"udp:127.0.0.1:{port}",
                               "-w", HERE, "-Y", run, "-f", f"{HERE}/kamailio.cfg", "-A",
                               "WITH_DIALOG" if dialog else "WITHOUT_DIALOG"], port, BENCH_CALLEE=f"127.0.0.1:{CALLEE}")


def load_command(server, rate, count, scenario, *options, side=0):
    secure = "tls" in options
    return [os.path.join(tmp, "load"), "-t", f"127.0.0.1:{server.port + secure}", *(("-K", certificate()) if secure else ()), "-p", str(CALLER + side), "-u", str(CALLEE + side),
            "-r", f"{rate:g}", "-n", str(int(count)), *map(str, options), scenario]


def result_of(text):
    return {k: float(v) for k, v in (pair.split("=") for pair in text.split())}


def load(server, rate, count, scenario, *options, check=True):
    """One run of the generator: what it printed. 2 is a mistake of ours, 1 only says that calls failed."""
    done = subprocess.run(load_command(server, rate, count, scenario, *options), stdout=subprocess.PIPE,
                          stderr=None if check else subprocess.DEVNULL, text=True, timeout=600)
    if check and done.returncode == 2:
        sys.exit("the generator does not run")
    return result_of(done.stdout)


def measure(server, rate, seconds, scenario, *options):
    before = ticks(server.pid)
    r = load(server, rate, rate * seconds, scenario, *options)
    r["us"] = (ticks(server.pid) - before) / max(r["ok"], 1)
    return r


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def show(text):
    print(text, flush=True)


def say(row, who, r):
    show(f"{row}: {who:9} {r['us']:7.1f} us  lost={r['failed']:.0f} again={r['again']:.0f} "
         f"p50={r['p50_us']:.0f} us p99={r['p99_us']:.0f} us")


def alternate(row, a, b, rate, scenario, a_options=(), b_options=(), names=("siphook", "kamailio")):
    """Runs in turn; cost, delays and losses of both, and the ratios of neighbours."""
    pairs, seconds = (3, 2) if quick else (5, 4)
    runs = {names[0]: [], names[1]: []}
    sides = [(names[0], a, a_options)] + ([(names[1], b, b_options)] if b else [])
    for name, server, options in sides:
        load(server, rate, rate, scenario, *options)  # warm
    for _ in range(pairs):
        for name, server, options in sides:
            r = measure(server, rate, seconds, scenario, *options)
            say(row, name, r)
            runs[name].append(r)
    out = {"rate": rate, "pairs": pairs, "seconds": seconds}
    for name, rs in runs.items():
        if rs:
            out[name] = {k: spread([r[k] for r in rs]) for k in ("us", "p50_us", "p99_us")}
            out[name]["lost"] = sum(r["failed"] for r in rs)
    if b:
        for k in ("us", "p50_us", "p99_us"):
            out[f"ratio_{k}"] = spread([x[k] / max(y[k], 1) for x, y in zip(runs[names[0]], runs[names[1]])])
    return out


def rate_of_both(row, start, rate, scenario):
    """The other server, fresh, and a rate that it can do: where it loses calls, delays and costs of what is left compare nothing.
    Once it had to be lowered, the rate is a fifth below what it could do for a moment."""
    first = rate
    while True:
        server = start()
        if not server or rate <= 250:
            return rate, server
        r = measure(server, rate, 3, scenario)
        if r["failed"] == 0 and r["again"] <= 0.01 * r["ok"]:
            return rate if rate == first else int(rate * 0.8), server
        show(f"{row}: kamailio cannot do {rate}/s here (lost {r['failed']:.0f}, sent again {r['again']:.0f})")
        server.end(False)
        rate = int(rate * 0.75)


def versus(row, scenario, rate, dialog=False):
    rate, b = rate_of_both(row, lambda: kamailio(dialog), rate, scenario)
    a = siphook()
    try:
        return alternate(row, a, b, rate, scenario)
    finally:
        for s in (a, b):
            if s:
                s.end()


# ---------------------------------------------------------------- rows

def echo(rate, seconds):
    """A server that sends each datagram back: microseconds for one, those that came back, its longest turn."""
    binary = os.path.join(tmp, "echo")
    if not os.path.exists(binary):
        subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", binary, os.path.join(HERE, "echo.c")], check=True)
    server = Server("echo", [binary, "serve", str(BASE)], BASE, ready=False)
    time.sleep(0.2)
    done = subprocess.run([binary, "drive", str(BASE), str(rate), str(int(rate * seconds))], stdout=subprocess.PIPE, text=True,
                          timeout=seconds + 30)
    ok = result_of(done.stdout)["ok"]
    us = ticks(server.pid) / max(ok, 1)
    server.end()
    with open(server.log.name) as f:
        turn = result_of(f.read())
    return {"us": us, "ok": ok, "turn_us": (turn["longest_turn_cpu_us"], turn["longest_turn_us"])}


def row_echo():
    """What the kernel alone takes for the datagrams of a call: each is sent back by a server that does nothing else."""
    points, seconds = [], 2 if quick else 4
    for rate in (1000, 2000, 8000, 20000):
        runs = []
        for _ in range(3):
            r = echo(rate * PER_CALL, seconds)
            runs.append({"us": r["us"] * PER_CALL, "lost": rate * PER_CALL * seconds - r["ok"]})
        points.append({"rate": rate, "us": spread([r["us"] for r in runs]), "lost": sum(r["lost"] for r in runs)})
        show(f"echo: the datagrams of {rate} calls/s: {points[-1]['us']['median']:.0f} us for those of one "
             f"({points[-1]['us']['min']:.0f} to {points[-1]['us']['max']:.0f}), {points[-1]['lost']:.0f} lost")
    return {"points": points}


def row_call():
    """A call at 2,000/s: INVITE 100 180 200 ACK BYE 200 on both legs."""
    return versus("call", "invite", 2000, dialog=True)


def row_register():
    """REGISTER with digest (401 and 200) at 5,000/s."""
    return versus("register", "register", 5000)


def row_options():
    """OPTIONS answered by a Lua hook at 5,000/s."""
    return versus("options", "options", 5000)


def kept(transport):
    """A call by kept connections against one by UDP: those of KEPT callers, and one to the callee."""
    a, b = siphook(transport, transport=transport), siphook("udp", port=BASE + 40)
    try:
        out = alternate(transport, a, b, 2000, "invite", a_options=("-T", transport, "-c", KEPT), names=(transport, "udp"))
        return {**out, "connections": KEPT}
    finally:
        a.end()
        b.end()


def row_tcp():
    """A call by TCP on kept connections against one by UDP, at 2,000/s."""
    return kept("tcp")


def row_tls():
    """A call by TLS on kept connections against one by UDP, at 2,000/s."""
    return kept("tls")


def row_connections():
    """A connection for one OPTIONS, 300/s: TCP, TLS with a full handshake, TLS with a resumed session."""
    server, out, seconds = siphook("connections", transport="tls"), {}, 3 if quick else 6
    try:
        for name, options in (("tcp", ("-T", "tcp")), ("full", ("-T", "tls")), ("resumed", ("-T", "tls", "-R"))):
            load(server, 300, 100, "connect", *options)
            before = status(server)
            rs = [measure(server, 300, seconds, "connect", *options) for _ in range(3)]
            for r in rs:
                say("connections", name, r)
            after = status(server)
            out[name] = {k: spread([r[k] for r in rs]) for k in ("us", "p50_us", "p99_us")}
            out[name]["lost"] = sum(r["failed"] for r in rs)
            out[name]["handshakes"] = {k: after[k] - before[k] for k in after if k.startswith("tls_")}
            show(f"connections: {name}: {out[name]['handshakes']}")
    finally:
        server.end()
    return out


def row_workers():
    """A call with two workers against one with one, at 2,000/s."""
    a, b = siphook("two", workers=2), siphook("one", port=BASE + 40)
    try:
        return alternate("workers", a, b, 2000, "invite", a_options=("-d", 20), b_options=("-d", 20), names=("two", "one"))
    finally:
        a.end()
        b.end()


def row_gather():
    """A call at 2,000/s by the longest wait for more datagrams: processor time against delay."""
    rate, points = 2000, []
    servers = [(us, siphook(f"gather{us}", port=BASE + 40 + i, gather_calls=us)) for i, us in enumerate((0, 100, 200, 300, 500, 700))]
    runs = {us: [] for us, _ in servers}
    for _ in range(3 if quick else 5):
        for us, s in servers:
            r = measure(s, rate, 2 if quick else 3, "invite")
            say(f"gather {us}", "", r)
            runs[us].append(r)
    for _, s in servers:
        s.end()
    for us, rs in runs.items():
        points.append({"gather_calls": us, **{k: statistics.median(r[k] for r in rs) for k in ("us", "p50_us", "p99_us")}})
        show(f"gather {us}: {points[-1]['us']:.0f} us, p50 {points[-1]['p50_us']:.0f} us, p99 {points[-1]['p99_us']:.0f} us")
    return {"rate": rate, "points": points}


def row_curve():
    """Cost of a call against the rate."""
    server, points = siphook(), []
    other = kamailio(dialog=True)
    for rate in (250, 500, 1000, 2000, 3000, 4000, 6000, 8000, 12000, 16000, 20000):
        point = {"rate": rate}
        for name, s in (("siphook", server), ("kamailio", other)):
            if not s:
                continue
            r = measure(s, rate, 2 if quick else 3, "invite")
            say(f"curve {rate}/s", name, r)
            if r["failed"] > 0 or r["again"] > 0.02 * r["ok"]:
                s.end(s is other)  # it is past its limit: the points end here
                server, other = (None if s is server else server), (None if s is other else other)
            else:
                point[name] = r["us"]
                point[name + "_p99_us"] = r["p99_us"]
        points.append(point)
        if not server:
            break
    for s in (server, other):
        if s:
            s.end()
    return {"points": points}


def highest(server, rates, seconds, scenario="invite"):
    """The highest rate without a lost call and with at most 0.1 % sent again. Each has two tries: the machine may hiccup."""
    best = 0
    for rate in rates:
        for _ in range(2):
            r = measure(server, rate, seconds, scenario)
            say(f"{rate}/s", "siphook", r)
            if r["failed"] == 0 and r["again"] <= 0.001 * 2 * r["ok"]:
                best = rate
                break
        if best != rate:
            break
    return best


def row_saturated():
    """The highest rate on one worker, then that for 90 s."""
    kept = backed_memory(1 << 30 if quick else 2 << 30)
    server = siphook()
    best = highest(server, (2000, 4000, 6000, 8000, 10000, 12000, 14000, 16000, 18000, 20000), 2 if quick else 4)
    out = {"highest": best}
    if best:
        # A little below: what the machine does beside this is not the server's fault.
        rate, seconds = best if best >= 20000 else int(best * 0.9), 10 if quick else 90
        r = measure(server, rate, seconds, "invite")
        say(f"saturated {rate}/s for {seconds} s", "siphook", r)
        out.update(rate=rate, seconds=seconds, us=r["us"], lost=r["failed"], again=r["again"] / (2 * r["ok"] or 1),
                   p50_us=r["p50_us"], p99_us=r["p99_us"])
    server.end(False)
    kept.close()
    return out


def row_overload():
    """A costly hook at twice the rate that it can do."""
    server = siphook(work=150000)  # empty turns of a loop: some 400 us
    best = highest(server, range(250, 10001, 250), 2) or 250
    r = measure(server, 2 * best, 10, "invite")
    share = r["ok"] / 10 / (best or 1)
    show(f"overload: twice {best}/s: {r['ok'] / 10:.0f}/s completed ({share:.2f}), {r['refused']:.0f} refused with 503, "
         f"{r['failed'] - r['refused']:.0f} lost otherwise")
    server.end(False)
    return {"highest": best, "offered": 2 * best, "completed": r["ok"] / 10, "share": share, "refused": r["refused"],
            "lost": r["failed"] - r["refused"]}


def cost_beside(full, empty, options=()):
    """A new call on both in turn: the median of the ratios, and of what it costs."""
    pairs, runs = 3 if quick else 5, {full: [], empty: []}
    for _ in range(pairs):
        for server in (full, empty):
            runs[server].append(measure(server, 1000, 3, "invite", *options)["us"])
    return (statistics.median(runs[full]), statistics.median(runs[empty]),
            spread([a / b for a, b in zip(runs[full], runs[empty])]))


def row_scale():
    """A million bindings and 100,000 live calls in one process: memory of each, cost of a new call beside an empty server, longest turn."""
    bindings, calls = (100000, 20000) if quick else (1000000, 100000)
    kept = backed_memory(1 << 30 if quick else 4 << 30)
    full, empty = siphook("full", users=1, open=1), siphook("empty", port=BASE + 40, users=1, open=1)
    for server in (full, empty):
        load(server, 1000, 1000, "register", "-U", bindings)
        load(server, 2000, 4000, "invite")
    load(full, 2000, calls * 0.64, "invite")  # as many transactions as will be there later: what is for them is no call's
    quiet = time.time()
    time.sleep(LINGER)
    base = memory(full.pid)
    turns = Turns(full, quiet)
    r = load(full, 8000, bindings, "register", "-U", bindings, "-x", 86400)
    quiet = time.time()
    time.sleep(LINGER)
    turn = turns.end()
    out = {"bindings": r["ok"], "bindings_lost": r["failed"], "binding_bytes": (memory(full.pid) - base) / max(r["ok"], 1),
           "bindings_turn_us": turn}
    show(f"scale: {r['ok']:.0f} bindings (lost {r['failed']:.0f}): {out['binding_bytes']:.0f} bytes each; {show_turn(turn)}")
    base, up, lost, gap, points = memory(full.pid), 0, 0, 0, []
    turns = Turns(full, quiet + LINGER)
    for step in range(5):
        if step:
            r = load(full, 2000, calls / 4, "invite", "-k")
            up, lost, gap = up + r["ok"], lost + r["failed"], max(gap, r["gap_ms"])
        us, us_empty, ratio = cost_beside(full, empty)
        points.append({"up": up, "us": us, "us_empty": us_empty, "ratio": ratio})
        show(f"scale: {up:.0f} calls up: a new call costs {us:.0f} us, on an empty server {us_empty:.0f} us: "
             f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
    time.sleep(LINGER)
    turn = turns.end()
    out.update(calls=up, calls_lost=lost, call_bytes=(memory(full.pid) - base) / max(up, 1), points=points, calls_turn_us=turn, gap_ms=gap)
    show(f"scale: {up:.0f} calls up (lost {lost:.0f}): {out['call_bytes']:.0f} bytes each; {show_turn(turn)}")
    for server in (full, empty):
        server.end(False)
    kept.close()
    # As many datagrams as the bindings took, on a server that has no tables.
    out["echo_turn_us"] = echo(16000, bindings / 8000)["turn_us"]
    show(f"scale: the datagrams of the bindings, sent back: {show_turn(out['echo_turn_us'])}")
    return out


def row_lingering():
    """Memory of a transaction that only waits for the end of its timer: three remain of a call for 32 s."""
    rate, seconds = 2000, 8 if quick else 20
    server = siphook()
    load(server, 500, 500, "invite")
    base = memory(server.pid)
    r = load(server, rate, rate * seconds, "invite")
    time.sleep(6)  # timer K of the BYE that we sent is over
    each = (memory(server.pid) - base) / max(3 * r["ok"], 1)
    show(f"lingering: {each:.0f} bytes each")
    server.end()
    return {"bytes": each}


def row_reload():
    """500 calls/s while a script of 500 lines is reloaded every second."""
    seconds, script = 4 if quick else 10, os.path.join(tmp, "reload.lua")
    write_plan(script, 0)
    server = siphook("reload", script, users=1)
    quiet = load(server, 500, 500 * seconds, "invite")
    turns = Turns(server, time.time())
    run = subprocess.Popen(load_command(server, 500, 500 * seconds, "invite"), stdout=subprocess.PIPE, text=True)
    refused = 0
    for i in range(1, seconds):
        time.sleep(1)
        write_plan(script, i)
        refused += subprocess.run([f"{BUILD}/siphook", "reload", "-s", f"{tmp}/reload.sock"],
                                  stdout=subprocess.DEVNULL).returncode != 0
    r, turn = result_of(run.communicate()[0]), turns.end()
    show(f"reload: {seconds - 1} reloads, refused {refused}, lost {r['failed']:.0f}, longest gap {r['gap_ms']:.1f} ms "
         f"(without reloads {quiet['gap_ms']:.1f} ms), {show_turn(turn)}")
    server.end()
    return {"reloads": seconds - 1, "refused": refused, "lost": r["failed"], "gap_ms": r["gap_ms"], "gap_ms_without": quiet["gap_ms"],
            "turn_us": turn}


def row_idle():
    """Processor time of a server that nobody calls."""
    server = siphook()
    time.sleep(2)
    before = ticks(server.pid)
    time.sleep(10)
    share = (ticks(server.pid) - before) / 10e6
    show(f"idle: {100 * share:.2f} % of a processor")
    server.end()
    return {"share": share}


def row_profile():
    """Where the worker's time goes, by perf: the kernel's system calls, and the parts of user space."""
    if not shutil.which("perf"):
        show("profile: perf is not installed (apt-get install linux-perf)")
        return {}
    out = {}
    for row, scenario, rate in (("call", "invite", 2000), ("register", "register", 5000), ("options", "options", 5000)):
        server, data = siphook(), os.path.join(tmp, "perf.data")
        load(server, rate, rate, scenario)
        perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-p", str(server.pid), "-o", data],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        r = measure(server, rate, 6, scenario)
        perf.send_signal(signal.SIGINT)
        perf.wait(30)
        server.end()
        out[row] = {"us": r["us"], "shares": shares_of(data)}
        show(f"profile: {row} at {rate}/s, {r['us']:.0f} us: " +
             ", ".join(f"{name} {100 * share:.0f} %" for name, share in out[row]["shares"].items()))
    return out


# The first that a stack has names its share; what has none of them is user space.
SYSTEM_CALLS = (("send", ("sys_sendmmsg", "sys_sendto")), ("receive", ("sys_recvmmsg", "sys_recvfrom")),
                ("wait", ("sys_epoll_wait", "sys_epoll_pwait", "sys_clock_nanosleep", "sys_nanosleep")),
                ("other system calls", ("do_syscall_64", "el0_svc")), ("interrupts", ("asm_sysvec", "asm_common_interrupt", "el0_irq")))


def shares_of(data):
    text = subprocess.run(["perf", "script", "-i", data, "-F", "ip,sym,dso"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True).stdout
    counts, total = {}, 0
    for sample in text.split("\n\n"):
        if not sample.strip():
            continue
        total += 1
        name = next((n for n, marks in SYSTEM_CALLS if any(m in sample for m in marks)), None)
        if not name:
            top = sample.strip().splitlines()[0]
            name = next((n for n, mark in (("siphook.so", "siphook.so"), ("libc", "libc.so"), ("libcrypto", "libcrypto")) if mark in top),
                        "rest")
        counts[name] = counts.get(name, 0) + 1
    return {n: c / total for n, c in sorted(counts.items(), key=lambda x: -x[1])}


def write_plan(path, number):
    """A dial plan of 500 lines; no two numbers give the same text."""
    with open(os.path.join(HERE, "plan.lua")) as f:
        lines = f.read().splitlines()
    lines.append(f"local rules = {{ number = {number} }}")
    i = 0
    while len(lines) + 4 <= 500:
        lines += [f"rules[{i + 1}] = function(user, prefix)", f'  local rest = user:match("^{i:04}(%d+)$")',
                  '  return rest and "sip:" .. (prefix or "") .. rest .. "@127.0.0.1"', "end"]
        i += 1
    lines += [f"-- {i}" for i in range(len(lines), 500)]
    with open(path + ".new", "w") as f:
        f.write("\n".join(lines) + "\n")
    os.rename(path + ".new", path)


def status(server):
    name = os.path.basename(server.log.name)[:-len(".log")]
    done = subprocess.run([f"{BUILD}/siphook", "status", "--json", "-s", f"{tmp}/{name}.sock"], stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else {}


class Turns:
    """The longest turn of any worker's loop from now to end(), microseconds: of its own processor time, which no other process on the
    machine adds to, and by the clock. The server tells that of the last minute, so it is asked twice a minute; what was a minute before
    `quiet` is no part of it: that is when the load before was over."""

    def __init__(self, server, quiet):
        self.server, self.turn = server, (0, 0)
        time.sleep(max(0, quiet + 61 - time.time()))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def look(self):
        s = status(self.server)
        self.turn = max(self.turn[0], s.get("longest_turn_cpu_us", 0)), max(self.turn[1], s.get("longest_turn_us", 0))

    def run(self):
        while not self.over.wait(25):
            self.look()

    def end(self):
        self.over.set()
        self.thread.join()
        self.look()
        return self.turn


def show_turn(turn):
    return f"longest turn {turn[0] / 1000:.1f} ms of its own time, {turn[1] / 1000:.1f} ms by the clock"


ROWS = {name[4:]: fn for name, fn in list(globals().items()) if name.startswith("row_")}


def own_network():
    """A namespace of our own, so that nothing else is on the wire and no port is taken; without the right to one, the machine's."""
    if ctypes.CDLL(None).unshare(0x40000000) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def machine():
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    version = subprocess.run([f"{BUILD}/siphook", "version"], stdout=subprocess.PIPE, text=True).stdout.split("\n")[0]
    return {"date": time.strftime("%Y-%m-%d %H:%M"), "cpu": cpu, "processors": os.cpu_count(), "kernel": platform.release(),
            "load": os.getloadavg()[0], "siphook": version, "command": "make bench" + (" QUICK=1" if quick else "")}


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("-q", action="store_true", default=bool(os.environ.get("QUICK")))
parser.add_argument("-o", default=os.path.join(BUILD, "bench.json"))
parser.add_argument("rows", nargs="*", metavar="ROW", choices=[*ROWS, []])
args = parser.parse_args()
quick = args.q
signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
own_network()
with tempfile.TemporaryDirectory() as tmp:
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-o", f"{tmp}/load",
                    *(os.path.join(HERE, f) for f in sorted(os.listdir(HERE)) if f.startswith("load") and f.endswith(".c")),
                    "-lssl", "-lcrypto", "-lm"], check=True)
    results = {}
    if os.path.exists(args.o):
        with open(args.o) as f:
            results = json.load(f)
    if not shutil.which("kamailio"):
        show("kamailio is not installed (apt-get install kamailio kamailio-lua-modules): no ratios")
    for row in args.rows or ROWS:
        show(f"== {row}: {ROWS[row].__doc__.splitlines()[0]}")
        started = time.time()
        results[row] = {**ROWS[row](), "took_s": round(time.time() - started), "quick": quick, "machine": machine()}
        with open(args.o, "w") as f:
            json.dump(results, f, indent=1)
show(f"results are in {args.o}")
