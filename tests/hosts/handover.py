"""Two `siphook run` with the same option handover, one after the other, and calls and phones that do not notice: handover.py SIPHOOK"""
import os
import signal
import sys
import tempfile
import time

from instances import Process, both, sizes, take
from nginx_reload import PLAN
from phone import Phone, call, hang_up
from sip import Caller, free_port, wait_for


def does_not_read(old, new, caller, phone):
    """What is for a process that stands still stops no other: whoever knows one of its tags could stop all."""
    forger, other = Caller(caller.port), Caller(caller.port)
    forger.new()
    old.p.send_signal(signal.SIGSTOP)
    try:
        for i in range(100000):
            forger.send("INFO", 2, caller.to + ";x=" + 1000 * "x", branch=f"f{i}")
            if i % 50 == 0:
                time.sleep(0.01)
            if i % 1000 == 999 and new.status()["forwards_lost"] > 1000:
                break
        assert i < 99999, "nothing was lost"
        for _ in range(5):
            assert other.options() == 200
        assert not phone.register()
    finally:
        old.p.send_signal(signal.SIGCONT)
    # From now on what is its own reaches it again.
    forger.close()
    forger = Caller(caller.port)
    forger.new()
    for i in range(50):
        forger.send("INFO", 3, caller.to, branch=f"g{i}")
        try:
            forger.take(forger.a, "SIP/2.0 481", 0.3)
            break
        except AssertionError:
            assert i < 49


with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "plan.lua"), "w") as f:
        f.write(PLAN)
    port, left, left_port = free_port(), os.path.join(folder, "left"), free_port()
    processes = []
    try:
        # One that takes over and never starts leaves nobody deaf: looked at in the end.
        os.makedirs(os.path.join(left, "state"), 0o700)
        for name in ("plan.lua", "state/17"):
            with open(os.path.join(left, name), "w") as f:
                f.write(PLAN)
        forsaken = Process(left, both(left_port), "-w", "2")
        processes.append(forsaken)
        left_caller = Caller(left_port)
        assert left_caller.options(20) == 200
        os.rename(os.path.join(left, "state/17"), os.path.join(left, "17"))
        taker = take(os.path.join(left, "state"), sizes())
        processes.append(Process(folder, both(port), "-w", "2"))
        caller, second = Caller(port), Caller(port)
        assert caller.options(20) == 200
        bob = Phone(port, "bob")
        bob.register()
        call(caller, bob)
        for workers in ("2", "4", "3"):
            processes.append(Process(folder, both(port), "-w", workers))
            wait_for("it takes over", 30, lambda: "taken over from epoch" in processes[-1].logged())
            assert not bob.register(), "the nonce is known"
            call(second, bob)
            hang_up(second, bob)
        does_not_read(processes[1], processes[-1], caller, bob)
        hang_up(caller, bob)
        # Those before end by themselves, when all that they have begun is over.
        for p in processes[1:-1]:
            assert p.p.wait(60) == 0, p.logged()
        assert not processes[-1].status()["succeeded"]
        # A start that fails leaves the one that runs as it was; and so does a folder that others may write to.
        broken = Process(folder, [*both(port), "udp://192.0.2.1:5060"])
        assert broken.p.wait(30) == 1 and "192.0.2.1" in broken.logged(), broken.logged()
        assert caller.options() == 200 and not bob.register()
        call(second, bob)
        hang_up(second, bob)
        os.chmod(os.path.join(folder, "state"), 0o777)
        open_to_all = Process(folder, both(port))
        assert open_to_all.p.wait(30) == 1 and "nobody else may write" in open_to_all.logged(), open_to_all.logged()
        os.rename(os.path.join(folder, "state"), os.path.join(folder, "elsewhere"))
        os.chmod(os.path.join(folder, "elsewhere"), 0o700)
        os.symlink("elsewhere", os.path.join(folder, "state"))
        linked = Process(folder, both(port))
        assert linked.p.wait(30) == 1 and "nobody else may write" in linked.logged(), linked.logged()
        wait_for("the one that was to be taken over from goes on", 40, lambda: "this one goes on" in forsaken.logged())
        assert "does not start within" in forsaken.logged() and left_caller.options() == 200
        taker.close()
        for last in (forsaken, processes[-1]):
            last.p.send_signal(signal.SIGTERM)
            assert last.p.wait(20) == 0
        for p in processes:
            assert "Sanitizer" not in p.logged(), p.logged()
    except BaseException:
        for p in processes:
            p.p.kill()
            print(p.logged()[-6000:], file=sys.stderr)
        raise
