"""Stock nginx with its LuaJIT module and the adapter inside: nginx.py BUILD_HOSTS SIPHOOK.SO [FOLDER [TEST]]."""
import json
import os
import re
import signal
import socket
import sys
import tempfile
import time

import server as _  # a network of its own
import nginx_reload
from nginx_server import Server
from sip import Caller, free_port, sipp_call, sipp_passed, wait_for

here = os.path.dirname(os.path.abspath(__file__))


def serves(folder):
    plan, port, phone_port = os.path.join(folder, "plan.lua"), free_port(), free_port()
    text = open(os.path.join(here, "host.lua")).read()
    open(plan, "w").write(text)
    server = Server(folder, plan, [f"udp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port}"], f"sip:phone@127.0.0.1:{phone_port}")

    code, words = server.test()
    assert code == 0 and "test is successful" in words, words
    open(plan, "w").write("local sip = require 'siphook'\nlocal a = = 1\n")
    code, words = server.test()
    assert code != 0 and re.search(r"\[emerg\] .*siphook: .*plan.lua:2: ", words), words
    open(plan, "w").write(text)

    server.start()
    try:
        caller = Caller(port)
        assert caller.options(10) == 200
        wait_for("exactly one worker serves, no helper process", 5, lambda: server.serving() == 1)
        sipp_passed(sipp_call(port, phone_port, folder), folder)
        assert server.get("/lua")[1] == "Lua 5.1 jit\n"

        # The status, from whatever worker.
        for _ in range(4):
            assert server.status()["calls_answered"] == 1
        assert server.get("/siphook")[0] == "application/json"
        for how in (("/siphook?metrics",), ("/siphook?format=prometheus",), ("/siphook", "application/openmetrics-text,text/plain")):
            kind, answer = server.get(*how)
            assert kind.startswith("text/plain") and "\nsiphook_calls_answered_total 1\n" in answer, answer
        assert json.loads(server.get("/siphook?calls")[1]) == [] and json.loads(server.get("/siphook?registrations")[1]) == []

        # The script changes in mid-call, by the control socket; a broken one is refused.
        during = sipp_call(port, phone_port, folder, hold_ms=1500)
        wait_for("the call is up", 5, lambda: '"state":"up"' in server.get("/siphook?calls")[1])
        open(plan, "w").write(text + "\n-- changed\n")
        code, words = server.command("reload")
        assert code == 0 and "2" in words, words
        open(plan, "w").write("local a = = 1\n")
        code, words = server.command("reload")
        assert code != 0 and "plan.lua:1:" in words, words
        sipp_passed(during, folder)
        assert re.search(r"\[notice\] .*siphook: generation 2", server.logged()) and re.search(r"\[error\] .*siphook: .*plan.lua:1:", server.logged())
        open(plan, "w").write(text)

        # The worker dies: nginx starts another, which has SIP again.
        os.kill(server.sip_worker(), signal.SIGKILL)
        wait_for("another worker serves", 10, lambda: server.serving() == 2)
        assert caller.options() == 200
        sipp_passed(sipp_call(port, phone_port, folder), folder)
        server.process.send_signal(signal.SIGQUIT)
        assert server.process.wait(20) == 0
    except BaseException:
        server.kill(False)
        print(server.logged(), file=sys.stderr)
        raise


def mistakes_are_lines_in_its_log(folder):
    plan, phone = os.path.join(here, "host.lua"), "sip:phone@127.0.0.1:9"
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    occupied = "udp://127.0.0.1:%d" % taken.getsockname()[1]
    good = f"udp://127.0.0.1:{free_port()}"
    mistakes = (
        (dict(listen=[occupied]), "Address already in use"),
        (dict(plan="/nowhere/plan.lua"), "/nowhere/plan.lua"),
        (dict(extra="siphook_option wrokers 2;"), 'did you mean "workers"'),
    )

    def configure(server, plan=plan, listen=(good,), extra=""):
        server.plan, server.listen = plan, listen
        server.configure(extra)

    def lines(server, words):
        return len(re.findall(r"\[(?:error|emerg)\] .*siphook: .*" + re.escape(words), server.logged()))

    # A server that starts goes on without SIP, and one line says why.
    for n, (what, words) in enumerate(mistakes):
        os.mkdir(os.path.join(folder, str(n)))
        os.chmod(os.path.join(folder, str(n)), 0o755)
        server = Server(os.path.join(folder, str(n)), plan, [good], phone)
        configure(server, **what)
        server.start()
        try:
            wait_for("the log says " + words, 20, lambda: lines(server, words))
            wait_for("nginx serves", 10, lambda: server.get("/lua")[1].startswith("Lua"))
            assert lines(server, words) == 1, "one line"
            code, answer = server.failing("/siphook")
            assert code == 503 and "does not run" in answer, answer
            server.stop()
        except BaseException:
            server.kill(False)
            print(server.logged(), file=sys.stderr)
            raise
    # A reload is refused, and what runs goes on.
    os.mkdir(os.path.join(folder, "reload"))
    os.chmod(os.path.join(folder, "reload"), 0o755)
    server = Server(os.path.join(folder, "reload"), plan, [good], phone).start()
    try:
        caller = Caller(int(good.split(":")[-1]))
        assert caller.options(20) == 200
        for what, words in mistakes:
            configure(server, **what)
            server.reload()
            wait_for("the log says " + words, 20, lambda: lines(server, words))
            assert caller.options() == 200 and server.serving() == 1
        configure(server)
        server.reload()
        wait_for("a good configuration is taken", 20, lambda: server.serving() == 2)
        assert caller.options() == 200
        server.kill()
    except BaseException:
        server.kill(False)
        print(server.logged(), file=sys.stderr)
        raise
    taken.close()


tests = [serves, mistakes_are_lines_in_its_log, *nginx_reload.tests]
with tempfile.TemporaryDirectory() as top:
    os.chmod(top, 0o755)
    for test in tests:
        if len(sys.argv) < 5 or test.__name__ == sys.argv[4]:
            folder = os.path.join(top, test.__name__)
            os.mkdir(folder)
            test(folder)
