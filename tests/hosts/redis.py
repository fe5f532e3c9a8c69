"""Stock redis-server with the adapter inside: redis.py BUILD_HOSTS SIPHOOK.SO. It exports another Lua and preloads an allocator."""
import os
import re
import socket
import subprocess
import sys
import tempfile

from sip import Caller, free_port, sipp_call, sipp_passed, wait_for

here = os.path.dirname(os.path.abspath(__file__))
module, so = os.path.join(os.path.abspath(sys.argv[1]), "siphook_redis.so"), os.path.abspath(sys.argv[2])


def ask(port, *words):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall((f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)).encode())
        return s.recv(65536).decode()


class Server:
    def __init__(self, folder, *options):
        self.port, self.log = free_port(socket.SOCK_STREAM), os.path.join(folder, "redis.log")
        open(self.log, "w").close()
        self.process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--enable-module-command", "local", "--dir", folder, "--logfile", self.log,
             "--loadmodule", module, "object=" + so, *options], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def logged(self):
        return open(self.log).read()


def serves(folder):
    plan, port, phone_port = os.path.join(folder, "plan.lua"), free_port(), free_port()
    text = open(os.path.join(here, "host.lua")).read()
    open(plan, "w").write(text)
    server = Server(folder, "script=" + plan, f"listen=udp://127.0.0.1:{port}", f"config.peer=sip:phone@127.0.0.1:{phone_port}")
    try:
        caller = Caller(port)
        assert caller.options() == 200
        sipp_passed(sipp_call(port, phone_port, folder), folder)

        # A reload during a call, then a broken one: the call goes on.
        during = sipp_call(port, phone_port, folder, hold_ms=1500)
        wait_for("the call is up", 5, lambda: '"state":"up"' in ask(server.port, "SIPHOOK.CALLS"))
        open(plan, "w").write(text + "\n-- changed\n")
        assert ask(server.port, "siphook.reload") == "+generation 2\r\n"
        open(plan, "w").write("local a = = 1\n")
        assert re.match(r"-ERR .*plan.lua:1: ", ask(server.port, "siphook.reload"))
        sipp_passed(during, folder)
        assert "siphook: " in server.logged() and "generation 2" in server.logged(), "the log tells of the reload"

        # Redis's own Lua and its fork beside ours.
        assert ask(server.port, "EVAL", "return #'redis' + 37", "0").startswith(":42")
        ask(server.port, "BGSAVE")
        assert caller.options() == 200
        assert "siphook_calls_answered_total 2" in ask(server.port, "siphook.metrics")
        assert ask(server.port, "siphook.hangup", "nobody").startswith("-ERR no such call")
        assert '"generation":2' in ask(server.port, "siphook.status")
        assert ask(server.port, "MODULE", "UNLOAD", "siphook") == "+OK\r\n"
        assert ask(server.port, "PING") == "+PONG\r\n"
        server.process.terminate()
        assert server.process.wait(10) == 0, f"redis-server ended with {server.process.returncode}"
    except BaseException:
        server.process.kill()
        print(server.logged(), file=sys.stderr)
        raise


def mistakes_are_lines_in_its_log(folder):
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    plan, uri = "script=" + os.path.join(here, "host.lua"), "listen=udp://127.0.0.1:%d" % taken.getsockname()[1]
    for options, words in (
        ([plan, uri], "Address already in use"),
        (["script=/nowhere/plan.lua"], "/nowhere/plan.lua"),
        ([plan, "wrokers=2"], 'did you mean "workers"'),
        ([plan, "nonsense"], "KEY=VALUE is expected"),
    ):
        server = Server(folder, *options)
        assert server.process.wait(10) == 1
        assert words in server.logged(), server.logged()
    taken.close()


with tempfile.TemporaryDirectory() as folder:
    serves(folder)
    mistakes_are_lines_in_its_log(folder)
