"""Stock redis-server with the adapter inside: redis.py ADAPTERS SIPHOOK.SO FAKES. It exports another Lua and preloads an allocator."""
import os
import re
import socket
import subprocess
import sys

from server import Log, environment, explained, folder_for, plan_text, write
from sip import Caller, free_port, sipp_call, sipp_passed, wait_for

module, so, fakes = os.path.join(os.path.abspath(sys.argv[1]), "siphook_redis.so"), os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])


def ask(port, *words):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall((f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)).encode())
        return s.recv(65536).decode()


class Server:
    def __init__(self, folder, *options, so=so):
        self.port, self.log = free_port(), Log(os.path.join(folder, "redis.log"))
        self.log.mark()
        self.words = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--enable-module-command", "local", "--dir",
                      folder, "--logfile", self.log.path, "--loadmodule", module, "object=" + so, *options]
        self.folder = folder
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.words, env=environment(self.folder), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def end(self):
        self.process.terminate()
        assert self.process.wait(10) == 0, f"redis-server ended with {self.process.returncode}"


def serves(folder):
    port, phone_port, plan = free_port(), free_port(), write(os.path.join(folder, "plan.lua"), plan_text)
    options = ["script=" + plan, f"listen=udp://127.0.0.1:{port}", f"config.peer=sip:phone@127.0.0.1:{phone_port}"]
    server = Server(folder, *options)
    with explained(server.log):
        try:
            caller = Caller(port)
            assert caller.options() == 200
            sipp_passed(sipp_call(port, phone_port, folder), folder)

            # A reload during a call, then a broken one: the call goes on.
            during = sipp_call(port, phone_port, folder, hold_ms=1500)
            wait_for("the call is up", 5, lambda: '"state":"up"' in ask(server.port, "SIPHOOK.CALLS"))
            write(plan, plan_text + "\n-- changed\n")
            assert ask(server.port, "siphook.reload") == "+generation 2\r\n"
            write(plan, "local a = = 1\n")
            assert re.match(r"-ERR .*plan.lua:1: ", ask(server.port, "siphook.reload"))
            sipp_passed(during, folder)
            server.log.says("siphook: generation 2 of")
            server.log.says("plan.lua:1:")
            write(plan, plan_text)

            # Redis's own Lua and its fork beside ours.
            assert ask(server.port, "EVAL", "return #'redis' + 37", "0").startswith(":42")
            ask(server.port, "BGSAVE")
            assert caller.options() == 200
            assert "siphook_calls_answered_total 2" in ask(server.port, "siphook.metrics")
            assert ask(server.port, "siphook.hangup", "nobody").startswith("-ERR no such call")
            assert '"generation":2' in ask(server.port, "siphook.status")

            # Loaded twice, unloaded with a call up, loaded again.
            assert ask(server.port, "MODULE", "LOAD", module, *options).startswith("-ERR")
            server.log.says("siphook: it is loaded already")
            during = sipp_call(port, phone_port, folder, hold_ms=30000)
            wait_for("the call is up", 5, lambda: '"state":"up"' in ask(server.port, "SIPHOOK.CALLS"))
            assert ask(server.port, "MODULE", "UNLOAD", "siphook") == "+OK\r\n"
            for process in during:
                process.kill()
            assert ask(server.port, "SIPHOOK.STATUS").startswith("-ERR unknown command")
            assert ask(server.port, "MODULE", "LOAD", module, "object=" + so, *options) == "+OK\r\n"
            sipp_passed(sipp_call(port, phone_port, folder), folder)

            # It dies without a word, and is started again, as its users restart it.
            server.process.kill()
            server.process.wait(10)
            server.start()
            assert caller.options() == 200
            server.end()
        except BaseException:
            server.process.kill()
            raise


def mistakes_are_lines_in_its_log(folder):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        plan, uri = "script=" + write(os.path.join(folder, "good.lua"), plan_text), "listen=udp://127.0.0.1:%d"
        occupied, broken = uri % taken.getsockname()[1], write(os.path.join(folder, "bad.lua"), "local a = = 1\n")
        for object, options, words in (
            (so, [plan, occupied], "Address already in use"),
            (so, ["script=" + broken, uri % free_port()], "bad.lua:1:"),
            (so, [plan, "wrokers=2"], 'did you mean "workers"'),
            (so, [plan, "nonsense"], "KEY=VALUE is expected"),
            (os.path.join(fakes, "fake_none.so"), [plan], "is no siphook.so with the host interface"),
            (os.path.join(fakes, "fake_short.so"), [plan], "is no siphook.so with the host interface"),
        ):
            server = Server(folder, *options, so=object)
            with explained(server.log):
                try:
                    server.log.says("siphook: ")
                    assert words in server.log.new() and server.log.new().count("siphook: ") == 1, words
                    wait_for("redis runs", 5, lambda: ask(server.port, "PING") == "+PONG\r\n")
                    assert words in ask(server.port, "SIPHOOK.STATUS") and words in ask(server.port, "SIPHOOK.RELOAD")
                    if options[0] != plan:  # mended, it starts without a restart of the server
                        write(broken, plan_text)
                        assert ask(server.port, "SIPHOOK.RELOAD") == "+generation 1\r\n"
                        assert '"generation":1' in ask(server.port, "SIPHOOK.STATUS")
                    server.end()
                except BaseException:
                    server.process.kill()
                    raise


with folder_for() as folder:
    serves(folder)
    mistakes_are_lines_in_its_log(folder)
