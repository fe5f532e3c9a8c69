"""The stock mosquitto broker with the adapter inside: mosquitto.py ADAPTERS SIPHOOK.SO FAKES"""
import json
import os
import signal
import socket
import subprocess
import sys

from server import Log, environment, explained, folder_for, pause, plan_text, write
from sip import Caller, free_port, sipp_call, sipp_passed, wait_for

plugin, so, fakes = os.path.join(os.path.abspath(sys.argv[1]), "siphook_mosquitto.so"), os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])


class Broker:
    def __init__(self, folder, *options, so=so, times=1):
        self.folder, self.port, self.log = folder, free_port(), Log(os.path.join(folder, "mosquitto.log"))
        self.log.mark()
        lines = f"plugin {plugin}\nplugin_opt_object {so}\n" + "".join(f"plugin_opt_{o}\n" for o in options)
        self.conf = write(os.path.join(folder, "mosquitto.conf"), f"listener {self.port} 127.0.0.1\nallow_anonymous true\n"
                          f"log_dest file {self.log.path}\nlog_type all\nuser root\n" + times * lines)
        self.start()

    def start(self):
        self.process = subprocess.Popen(["mosquitto", "-c", self.conf], env=environment(self.folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self):
        self.process.terminate()
        assert self.process.wait(15) == 0

    def takes_messages(self):
        return subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-t", "x", "-m", "x"], stderr=subprocess.DEVNULL, timeout=10).returncode == 0

    def say(self, command):
        subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-t", "siphook/control", "-m", command], check=True, timeout=10)


def serves(folder):
    port, phone_port, plan = free_port(), free_port(), write(os.path.join(folder, "plan.lua"), plan_text)
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
            pause(0.2)
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
        write(plan, "local a = = 1\n")
        broker.say("reload")
        wait_for("a broken script is refused", 5, lambda: any("refused: " in r and "plan.lua:1:" in r for r in seen("siphook/reply")))
        broker.say("hangup nobody")
        wait_for("an unknown call is an error", 5, lambda: any(r.startswith("error: hangup nobody") for r in seen("siphook/reply")))
        broker.say("weather")
        wait_for("an unknown command is an error", 5, lambda: any(r.startswith("error: weather") for r in seen("siphook/reply")))
        sipp_passed(during, folder)
        broker.log.says("siphook: generation 3 of")
        broker.log.says("plan.lua:1:")
        write(plan, plan_text)
        watcher.terminate()
        watcher.wait(5)

        # It dies without a word, and is started again, as its users restart it.
        broker.process.kill()
        broker.process.wait(10)
        broker.start()
        assert caller.options() == 200
        sipp_passed(sipp_call(port, phone_port, folder), folder)
        broker.end()
    except BaseException:
        broker.process.kill()
        print(broker.log.text(), open(messages).read() if os.path.exists(messages) else "", file=sys.stderr)
        raise


def mistakes_are_lines_in_its_log(folder):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        plan, uri = "script " + write(os.path.join(folder, "good.lua"), plan_text), "listen udp://127.0.0.1:%d"
        occupied, broken = uri % taken.getsockname()[1], write(os.path.join(folder, "bad.lua"), "local a = = 1\n")
        for object, options, words in (
            (so, [plan, occupied], "Address already in use"),
            (so, ["script " + broken, uri % free_port()], "bad.lua:1:"),
            (so, [plan, "wrokers 2"], 'did you mean "workers"'),
            (os.path.join(fakes, "fake_none.so"), [plan], "is no siphook.so with the host interface"),
            (os.path.join(fakes, "fake_short.so"), [plan], "is no siphook.so with the host interface"),
        ):
            broker = Broker(folder, *options, so=object)
            with explained(broker.log):
                try:
                    broker.log.says(words)
                    assert broker.log.new().count(words) == 1
                    wait_for("the broker runs", 5, broker.takes_messages)
                    if options[0] != plan:  # mended, it starts without a restart of the broker
                        write(broken, plan_text)
                        broker.process.send_signal(signal.SIGHUP)
                        assert Caller(int(options[1].rsplit(":", 1)[1])).options() == 200
                    broker.end()
                except BaseException:
                    broker.process.kill()
                    raise
        broker = Broker(folder, plan, uri % free_port(), times=2)
        with explained(broker.log):
            broker.log.says("siphook: it is loaded already")
            broker.end()


with folder_for() as folder:
    serves(folder)
    mistakes_are_lines_in_its_log(folder)
