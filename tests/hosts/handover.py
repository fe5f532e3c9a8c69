"""Two `siphook run` with the same option handover, one after the other, and calls and phones that do not notice: handover.py SIPHOOK"""
import os
import signal
import subprocess
import sys
import tempfile

import server as _  # a network of its own

sys.argv[1:] = [os.path.dirname(os.path.abspath(sys.argv[1])), os.path.abspath(sys.argv[1])]
from nginx_reload import PLAN, Phone, call, hang_up  # noqa: E402
from sip import Caller, field, free_port, wait_for  # noqa: E402

command = sys.argv[2]


class Process:
    count = 0

    def __init__(self, folder, port, *options):
        Process.count += 1
        self.log = os.path.join(folder, f"log{Process.count}")
        self.control = os.path.join(folder, "control")
        self.p = subprocess.Popen(
            [command, "run", "-s", self.control, "-l", f"udp://127.0.0.1:{port}", "-l", f"tcp://127.0.0.1:{port}", "-o", f"handover={folder}/state",
             "-o", "config.callee=bob", *options, os.path.join(folder, "plan.lua")], stdout=subprocess.DEVNULL, stderr=open(self.log, "w"))

    def logged(self):
        return open(self.log).read()


with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "plan.lua"), "w") as f:
        f.write(PLAN)
    port = free_port()
    processes = [Process(folder, port, "-w", "2")]
    try:
        caller, second = Caller(port), Caller(port)
        assert caller.options(20) == 200
        bob = Phone(port, "bob")
        bob.register()
        call(caller, bob)
        for workers in ("2", "2", "3"):
            processes.append(Process(folder, port, "-w", workers))
            wait_for("it takes over", 30, lambda: "taken over from epoch" in processes[-1].logged())
            assert not bob.register(), "the nonce is known"
            call(second, bob)
            hang_up(second, bob)
        hang_up(caller, bob)
        # Those before end by themselves, when all that they have begun is over.
        for p in processes[:-1]:
            assert p.p.wait(60) == 0, p.logged()
        status = subprocess.run([command, "status", "-s", processes[-1].control], capture_output=True, text=True, timeout=20)
        assert status.returncode == 0, status.stderr
        # A start that fails leaves the one that runs as it was; and so does a folder that others may write to.
        broken = Process(folder, port, "-l", "udp://192.0.2.1:5060")
        assert broken.p.wait(30) == 1 and "192.0.2.1" in broken.logged(), broken.logged()
        assert caller.options() == 200 and not bob.register()
        call(second, bob)
        hang_up(second, bob)
        os.chmod(os.path.join(folder, "state"), 0o777)
        open_to_all = Process(folder, port)
        assert open_to_all.p.wait(30) == 1 and "nobody else may write" in open_to_all.logged(), open_to_all.logged()
        processes[-1].p.send_signal(signal.SIGTERM)
        assert processes[-1].p.wait(20) == 0
        for p in processes:
            assert "Sanitizer" not in p.logged(), p.logged()
    except BaseException:
        for p in processes:
            p.p.kill()
            print(p.logged()[-6000:], file=sys.stderr)
        raise
