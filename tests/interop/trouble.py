"""What an operator does wrong: broken scripts on reload while calls go on, endless loops, wrong commands; and how a server ends."""
import os
import re
import signal
import subprocess
import time

import house
from house import HERE, HOST, must, text_of, until
from sipp import Sipp

BROKEN = (
    # what it is, its text (the line is 2), what the reason says
    ("a syntax error", "\nlocal a = = 1\n", r":2: .*unexpected symbol|:2: .*near"),
    ("an error at the top level", "\nerror('no database')\n", r":2: .*no database"),
    ("an endless loop at the top level", "\nwhile true do end\n", r":2: .*(budget|instruction|too long|limit)"),
    ("an endless loop of protected calls", "\nwhile true do pcall(error) end\n", r":2: .*(budget|instruction|too long|limit)"),
    ("an allocation of 1 GB", "\nlocal s = ('x'):rep(1 << 30)\n", r":2: .*memory"),
    ("a table that grows without end", "\nlocal t = {} while true do t[#t + 1] = ('x'):rep(1 << 20) .. #t end\n", r":2: .*(memory|too long)"),
    ("a missing module", "\nrequire 'nowhere'\n", r":2: .*nowhere"),
    ("a hook that does not exist", "\nrequire('siphook').on.invitation(function() end)\n", r":2: .*invitation"),
)


def load(part, server, calls, rate, talk):
    """Calls at a steady rate in the background, both ends of them."""
    callee = Sipp(part, "callee_waits", "udp", calls)
    caller = Sipp(part, "caller_hangs_up", "udp", calls, server, f"bob-{callee.port}-udp", talk, rate=rate)
    return caller, callee


def refused(part, script, plan):
    """Each broken script is refused with file, line and reason, and the old generation goes on."""
    server = house.Server(part, script)
    ends = load(part, server, calls=300, rate=50, talk=300)
    until("calls are up", lambda: server.ask("status")["calls_answered"] > 10)
    wrong = []
    for what, text, reason in BROKEN:
        began = time.monotonic()
        part.file("plan.lua", text)
        code, said = server.command("reload")
        took = time.monotonic() - began
        if code != 1 or not re.search(r"plan\.lua" + "(?:" + reason + ")", said) or len(said.splitlines()) != 1:
            wrong.append(f"{what}: reload ends with {code} and says {said!r}")
        if took > 3:
            wrong.append(f"{what}: the refusal took {took:.1f} s")
        if server.generation != 1:
            wrong.append(f"{what}: generation 1 stays")
    os.unlink(script)
    code, said = server.command("reload")
    if code != 1 or "plan.lua" not in said or len(said.splitlines()) != 1:
        wrong.append(f"a missing file: reload ends with {code} and says {said!r}")
    part.file("plan.lua", plan)
    must(all(end.running for end in ends), "the calls go on all the while")
    must(server.reload() == 2, "the mended script is generation 2")
    status = server.ask("status")
    if status["reload_failures"] != len(BROKEN) + 1:
        wrong.append(f"{status['reload_failures']} failures are counted, not {len(BROKEN) + 1}")
    for end in ends:
        end.succeeds(20)
    until("no call is left", server.idle)
    status = server.ask("status")
    if status["calls_answered"] != 300 or status["calls_failed"]:
        wrong.append(f"300 calls are answered: {status}")
    with open(f"/proc/{server.process.pid}/status") as f:
        rss = int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) // 1024
    if rss > 512:
        wrong.append(f"the memory stays bounded: {rss} MB at most")
    must(not wrong, "\n".join(wrong))


def loops(part, script):
    """A loop in a hook ends that call with 500; those beside it are served."""
    server = house.Server(part, script)
    ends = load(part, server, calls=100, rate=50, talk=300)
    until("calls are up", lambda: server.ask("status")["calls_answered"] > 10)
    Sipp(part, "caller_hangs_on", "udp", 1, server, "loop").succeeds(10)
    for end in ends:
        end.succeeds(20)
    must(server.says("trouble.lua:8:") or server.says("plan.lua:8:"), f"the log names the line: {text_of(server.log, 20)}")
    until("no call is left", server.idle)
    status = server.ask("status")
    must(status["hooks_running"] == 0 and status["calls_answered"] == 100, f"only that call is lost: {status}")


def fails(part, *args):
    """(its one line) of a `siphook run` that must end with 1."""
    done = subprocess.run([part.siphook, "run", "-s", part.file("control-x"), *args], capture_output=True, text=True, timeout=20)
    said = done.stdout + done.stderr
    must(done.returncode == 1, f"siphook run {args} ends with 1, not {done.returncode}: {said}")
    must(len(said.splitlines()) == 1, f"one line: {said!r}")
    return said


def starts(part, script):
    server = house.Server(part, script)
    for scheme in ("udp", "tcp"):
        uri = f"{scheme}://{HOST}:{server.port}"
        said = fails(part, "-l", uri, script)
        must(uri in said and "in use" in said, f"an occupied port is named: {said}")
    free = f"udp://{HOST}:{house.port()}"
    must("nowhere.lua" in fails(part, "-l", free, part.file("nowhere.lua")), "a missing script is named")
    for uri in ("pigeon://roof", "udp://", f"udp://{HOST}:99999", f"udp://{HOST}:port", "127.0.0.1:5060", "udp://[::1:5060"):
        must(uri in fails(part, "-l", uri, script), f"{uri} is named")
    broken = part.file("broken.lua", "\nlocal a = = 1\n")
    must("broken.lua:2:" in fails(part, "-l", free, broken), "a broken script is named with its line")
    must("no siphook answers" in subprocess.run([part.siphook, "status", "-s", part.file("none")], capture_output=True, text=True, timeout=20).stderr,
         "a command without a server says so")


def hups(part, script, plan):
    server = house.Server(part, script)
    server.send(signal.SIGHUP)
    until("SIGHUP reloads", lambda: server.generation == 2)
    part.file("plan.lua", "\nlocal a = = 1\n")
    server.send(signal.SIGHUP)
    until("the log says why it is refused", lambda: server.says("plan.lua:2:"))
    must(server.generation == 2, "the old generation goes on")
    part.file("plan.lua", plan)
    server.send(signal.SIGHUP)
    until("SIGHUP reloads the mended script", lambda: server.generation == 3)


def watches(part, script, plan):
    part.file("names.lua", "return { 1 }\n")
    part.file("plan.lua", plan + "\nlocal names = require 'names'\n")
    server = house.Server(part, script, "watch=yes")
    part.file("plan.lua", plan + "\nlocal names = require 'names'\n-- saved by rename\n")
    until("a save by rename reloads", lambda: server.generation == 2)
    with open(script, "a") as f:
        f.write("-- saved in place\n")
    until("a save in place reloads", lambda: server.generation >= 3)
    before = server.generation
    part.file("names.lua", "return { 2 }\n")
    until("a save of a required file reloads", lambda: server.generation > before)
    before = server.generation
    part.file("plan.lua", "\nlocal a = = 1\n")
    until("a broken save is refused", lambda: server.says("plan.lua:2:"))
    must(server.generation == before, "the old generation goes on")
    part.file("plan.lua", plan)
    until("the mended script is taken", lambda: server.generation > before)


def ends_calls(part, script, signo):
    """Live calls get a BYE on both legs, one that rings is cancelled, and the process ends with 0 within its deadline of 5 s."""
    server = house.Server(part, script)
    callee = Sipp(part, "callee_in_shutdown", "udp", 5)
    caller = Sipp(part, "caller_in_shutdown", "udp", 5, server, f"bob-{callee.port}-udp")
    until("5 calls are up", lambda: sum(c["state"] == "up" for c in server.ask("calls")) == 5)
    began = time.monotonic()
    must(server.stop(signo, 8) == 0, "siphook ends with 0")
    took = time.monotonic() - began
    for end in (caller, callee):
        end.succeeds(10)
    must(took < 5, f"it ends as soon as the calls have ended: {took:.1f} s")
    must(not os.path.exists(server.control), "the control socket is gone")


def deaf(part, script, signo):
    """A phone that has vanished does not hold the end up beyond the deadline."""
    server = house.Server(part, script)
    callee = Sipp(part, "callee_in_shutdown", "udp", 1)
    caller = Sipp(part, "caller_in_shutdown", "udp", 1, server, f"bob-{callee.port}-udp")
    until("a call is up", lambda: any(c["state"] == "up" for c in server.ask("calls")))
    callee.end()
    began = time.monotonic()
    server.stop(signo, 8)
    took = time.monotonic() - began
    must(took < 7, f"siphook ends within its deadline: {took:.1f} s")
    caller.succeeds(10)


def tests(part):
    with open(os.path.join(HERE, "trouble.lua")) as f:
        plan = f.read()
    script = part.file("plan.lua", plan)

    def test(name, fn, *args):
        part.file("plan.lua", plan)
        with part.test("trouble: " + name):
            fn(part, script, *args)

    test("broken scripts are refused with file, line and reason while calls go on", refused, plan)
    test("an endless loop in a hook costs that call alone", loops)
    test("an occupied port, a missing script, a bad URI give one line and exit code 1", starts)
    test("SIGHUP reloads", hups, plan)
    test("with watch=yes a save reloads", watches, plan)
    test("SIGINT ends live calls with BYE", ends_calls, signal.SIGINT)
    test("SIGTERM ends live calls with BYE", ends_calls, signal.SIGTERM)
    test("a phone that is gone does not hold up the end", deaf, signal.SIGTERM)


if __name__ == "__main__":
    house.run(tests)
