"""Stock Apache httpd with the adapter inside, under each of two MPMs: apache.py ADAPTERS SIPHOOK.SO FAKES"""
import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

from server import Log, copied, environment, explained, folder_for, plan_text, write
from sip import Caller, free_port, sipp_call, sipp_passed, wait_for

adapters, so, fakes = (os.path.abspath(a) for a in sys.argv[1:4])
siphook = os.path.join(os.path.dirname(so), "siphook")


class Apache:
    """apache2ctl on a configuration of its own."""

    def __init__(self, folder, mpm, lines):
        self.folder, self.port, self.log = folder, free_port(), Log(os.path.join(folder, "error.log"))
        self.control = os.path.join(folder, "run", "siphook", "control.sock")
        self.pidfile = os.path.join(folder, "apache2.pid")
        os.makedirs(os.path.join(folder, "run", "socks"), exist_ok=True)
        write(os.path.join(folder, "envvars"), "export APACHE_RUN_DIR=%s/run APACHE_LOCK_DIR=%s/run APACHE_RUN_USER=www-data\n" % (folder, folder))
        modules = "/usr/lib/apache2/modules/mod_%s.so"
        write(os.path.join(folder, "apache2.conf"), "\n".join([
            f"ServerName test\nPidFile {self.pidfile}\nDefaultRuntimeDir {folder}/run\nListen 127.0.0.1:{self.port}",
            f"User www-data\nGroup www-data\nErrorLog {self.log.path}\nDocumentRoot {folder}",
            f"LoadModule mpm_{mpm}_module " + modules % ("mpm_" + mpm), "StartServers 3",
            "MinSpareServers 3" if mpm == "prefork" else "ThreadsPerChild 4\nMinSpareThreads 8\nMaxSpareThreads 12",
            "LoadModule authz_core_module " + modules % "authz_core",
            f"LoadModule siphook_module {adapters}/mod_siphook.so", "<Location /sip>\nSetHandler siphook-status\n</Location>", *lines, ""]))

    def ctl(self, command):
        return subprocess.run(["apache2ctl", command], env=environment(self.folder, APACHE_CONFDIR=self.folder), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, timeout=60)

    def must(self, command):
        done = self.ctl(command)
        assert done.returncode == 0, (command, done.stdout)

    def stop(self):
        pid = int(open(self.pidfile).read())
        self.must("stop")
        wait_for("the server ends", 20, lambda: not os.path.exists("/proc/%d" % pid))

    def kill(self):
        if os.path.exists(self.pidfile):
            os.kill(int(open(self.pidfile).read()), signal.SIGTERM)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    def code(self, path):
        try:
            self.get(path)
            return 200
        except urllib.error.HTTPError as e:
            return e.code

    def elected(self, seconds=15):
        """The process that serves since the log's last mark."""
        return int(re.search(r"serves SIP in process (\d+)", self.log.says("serves SIP in process", seconds)).group(1))


def run(*command):
    return subprocess.run([siphook, *command], env=environment("/tmp", ASAN_OPTIONS="detect_leaks=0"), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)


def is_up(apache, during, folder):
    try:
        wait_for("the call is up", 10, lambda: '"state":"up"' in apache.get("/sip?calls")[1])
    except AssertionError:
        for p in during:
            p.kill()
        print(apache.get("/sip"), apache.get("/sip?calls"), file=sys.stderr)
        sipp_passed(during, folder)  # what SIPp says
        raise


def serves(mpm):
    port, phone_port = free_port(), free_port()
    with folder_for() as folder:
        plan = write(os.path.join(folder, "plan.lua"), plan_text)
        apache = Apache(folder, mpm, [
            "SiphookObject " + copied(so, folder), "SiphookScript plan.lua", f"SiphookListen udp://127.0.0.1:{port} tcp://127.0.0.1:{port}",
            f"SiphookOption config.peer sip:phone@127.0.0.1:{phone_port}"])
        with explained(apache.log):
            try:
                apache.must("configtest")
                apache.must("start")
                first = apache.elected()
                caller = Caller(port)
                assert caller.options() == 200
                sipp_passed(sipp_call(port, phone_port, folder), folder)

                # Whichever child is asked.
                for _ in range(6):
                    kind, text = apache.get("/sip")
                    assert kind == "application/json" and json.loads(text)["calls_answered"] == 1
                kind, text = apache.get("/sip?metrics")
                assert kind.startswith("text/plain") and "\nsiphook_calls_answered_total 1\n" in text
                assert apache.get("/sip?calls")[1] == "[]" and apache.code("/sip?weather") == 404

                # Reloads during a call: a good one, and a broken one that is refused. The call goes on.
                during = sipp_call(port, phone_port, folder, hold_ms=1500)
                is_up(apache, during, folder)
                assert run("reload", "-s", apache.control).stdout == "generation 2\n"
                write(plan, "local a = = 1\n")
                assert "plan.lua:1:" in run("reload", "-s", apache.control).stdout
                apache.log.says("generation 2 of")
                apache.log.says("plan.lua:1:")
                sipp_passed(during, folder)

                # apachectl looks at the dial plan too, and restarts nothing with a broken one.
                test = apache.ctl("configtest")
                assert test.returncode != 0 and "plan.lua:1:" in test.stdout, test
                assert apache.ctl("graceful").returncode != 0 and caller.options() == 200
                write(plan, plan_text)

                # The child that serves is killed: another one takes over.
                apache.log.mark()
                os.kill(first, signal.SIGKILL)
                second = apache.elected()
                assert second != first and caller.options() == 200
                sipp_passed(sipp_call(port, phone_port, folder), folder)

                # A graceful restart, as its users do: new children, and a call that lasts across it. The old child serves it to its end.
                apache.log.mark()
                during = sipp_call(port, phone_port, folder, hold_ms=2500)
                is_up(apache, during, folder)
                apache.must("graceful")
                assert apache.elected() != second
                for _ in range(20):
                    assert caller.options() == 200
                assert os.path.exists("/proc/%d" % second)
                sipp_passed(during, folder)

                # Twice in a row under load.
                during = sipp_call(port, phone_port, folder, hold_ms=500, calls=200, rate=100)
                for _ in range(2):
                    apache.log.mark()
                    apache.must("graceful")
                    apache.elected()
                sipp_passed(during, folder)
                apache.log.mark()
                apache.must("restart")
                apache.elected()
                assert caller.options() == 200
                wait_for("the old child is gone", 10, lambda: not os.path.exists("/proc/%d" % second))
                apache.stop()
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.bind(("127.0.0.1", port))
            except BaseException:
                apache.kill()
                raise


def a_mistake_is_a_line_in_its_log(lines, words, told):
    """And the server runs; `told`: apachectl configtest tells it too."""
    with folder_for() as folder:
        good = write(os.path.join(folder, "good.lua"), plan_text)
        write(os.path.join(folder, "bad.lua"), "local a = = 1\n")
        for name in ("fake_none.so", "fake_short.so"):
            copied(os.path.join(fakes, name), folder)
        copied(so, folder)
        apache = Apache(folder, "event", lines)
        apache.log.mark()
        with explained(apache.log):
            try:
                test = apache.ctl("configtest")
                assert (test.returncode != 0 and words in test.stdout) == told, test
                apache.must("start")
                line = apache.log.says(words)
                assert "siphook: " in line and apache.log.new().count(words) == 1, line
                assert apache.code("/sip") == 503 and apache.code("/" + os.path.basename(good)) == 200, "the host goes on"
                apache.stop()
            except BaseException:
                apache.kill()
                raise


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, concurrent.futures.ThreadPoolExecutor(4) as pool:
    taken.bind(("127.0.0.1", 0))
    occupied, listen = "SiphookListen udp://127.0.0.1:%d" % taken.getsockname()[1], "SiphookListen udp://127.0.0.1:%d" % free_port()
    real, no_object = "SiphookObject siphook.so", "is no siphook.so with the host interface"
    tests = [pool.submit(serves, mpm) for mpm in ("prefork", "event")]
    tests += [pool.submit(a_mistake_is_a_line_in_its_log, *case) for case in (
        ([real, "SiphookScript good.lua", occupied], "Address already in use", False),
        ([real, "SiphookScript bad.lua", listen], "bad.lua:1:", True),
        ([real, "SiphookScript good.lua", "SiphookOption wrokers 2"], 'did you mean "workers"', True),
        (["SiphookObject fake_none.so", "SiphookScript good.lua"], no_object, True),
        (["SiphookObject fake_short.so", "SiphookScript good.lua"], no_object, True),
        ([real, listen], "SiphookScript is missing", False),
    )]
    for test in tests:
        test.result()
