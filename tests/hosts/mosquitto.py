"""The stock mosquitto broker with the adapter inside: mosquitto.py BUILD_HOSTS SIPHOOK.SO"""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

from sip import Caller, free_port, sipp_call, sipp_passed, wait_for

here = os.path.dirname(os.path.abspath(__file__))
plugin, so = os.path.join(os.path.abspath(sys.argv[1]), "siphook_mosquitto.so"), os.path.abspath(sys.argv[2])


class Broker:
    def __init__(self, folder, *options):
        self.port, self.log = free_port(socket.SOCK_STREAM), os.path.join(folder, "mosquitto.log")
        conf = os.path.join(folder, "mosquitto.conf")
        with open(conf, "w") as f:
            f.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nlog_dest file {self.log}\nlog_type all\nuser root\n")
            f.write(f"plugin {plugin}\nplugin_opt_object {so}\n" + "".join(f"plugin_opt_{o}\n" for o in options))
        open(self.log, "w").close()
        self.process = subprocess.Popen(["mosquitto", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def logged(self):
        return open(self.log).read()

    def say(self, command):
        subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-t", "siphook/control", "-m", command], check=True, timeout=10)


def serves(folder):
    plan, port, phone_port = os.path.join(folder, "plan.lua"), free_port(), free_port()
    text = open(os.path.join(here, "host.lua")).read()
    open(plan, "w").write(text)
    broker = Broker(folder, "script " + plan, f"listen udp://127.0.0.1:{port} tcp://127.0.0.1:{port}", "config.peer sip:phone@127.0.0.1:%d" % phone_port)
    messages = os.path.join(folder, "messages")
    try:
        caller = Caller(port)
        assert caller.options() == 200
        with open(messages, "w") as out:
            watcher = subprocess.Popen(
                ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", "siphook/#", "-F", "%t %p"], stdout=out)

        def seen(topic):
            return [line.split(" ", 1)[1] for line in open(messages).read().splitlines() if line.startswith(topic + " ")]

        def status_comes():
            broker.say("status")
            time.sleep(0.2)
            return seen("siphook/reply")

        wait_for("the control topic is answered", 10, status_comes)
        assert json.loads(seen("siphook/reply")[0])["generation"] == 1

        sipp_passed(sipp_call(port, phone_port, folder), folder)
        wait_for("the end of the call is published", 5, lambda: seen("siphook/call/end"))
        ids = {json.loads(seen("siphook/call/" + what)[0])["id"] for what in ("new", "answer", "end")}
        assert len(ids) == 1 and json.loads(seen("siphook/call/end")[0])["code"] == 200

        # Reloads during a call: by topic, by SIGHUP as its users do, and a broken one. The call goes on.
        during = sipp_call(port, phone_port, folder, hold_ms=2500)
        wait_for("the call is up", 5, lambda: len(seen("siphook/call/answer")) == 2)
        broker.say("reload")
        wait_for("it reloads", 5, lambda: "generation 2" in seen("siphook/reply"))
        broker.process.send_signal(signal.SIGHUP)
        wait_for("SIGHUP reloads", 5, lambda: "generation 3" in seen("siphook/reply"))
        open(plan, "w").write("local a = = 1\n")
        broker.say("reload")
        wait_for("a broken script is refused", 5, lambda: any("refused: " in r and "plan.lua:1:" in r for r in seen("siphook/reply")))
        broker.say("hangup nobody")
        wait_for("an unknown call is an error", 5, lambda: any(r.startswith("error: hangup nobody") for r in seen("siphook/reply")))
        broker.say("weather")
        wait_for("an unknown command is an error", 5, lambda: any(r.startswith("error: weather") for r in seen("siphook/reply")))
        sipp_passed(during, folder)
        assert "siphook: generation 3" in broker.logged() or "generation 3" in broker.logged(), broker.logged()
        watcher.terminate()
        watcher.wait(5)
        broker.process.terminate()
        assert broker.process.wait(15) == 0
    except BaseException:
        broker.process.kill()
        print(broker.logged(), open(messages).read() if os.path.exists(messages) else "", file=sys.stderr)
        raise


def mistakes_are_lines_in_its_log(folder):
    plan = "script " + os.path.join(here, "host.lua")
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    for options, words in (
        ([plan, "listen udp://127.0.0.1:%d" % taken.getsockname()[1]], "Address already in use"),
        (["script /nowhere/plan.lua"], "/nowhere/plan.lua"),
        ([plan, "wrokers 2"], 'did you mean "workers"'),
    ):
        broker = Broker(folder, *options)
        assert broker.process.wait(10) != 0
        assert words in broker.logged(), broker.logged()
    taken.close()


with tempfile.TemporaryDirectory() as folder:
    serves(folder)
    mistakes_are_lines_in_its_log(folder)
