"""Stock nginx with its LuaJIT module and the adapter inside: nginx.py BUILD_HOSTS SIPHOOK.SO. PRELOAD: a sanitizer's runtime."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from sip import Caller, free_port, sipp_call, sipp_passed, wait_for

here = os.path.dirname(os.path.abspath(__file__))
module, so = os.path.join(os.path.abspath(sys.argv[1]), "ngx_siphook_module.so"), os.path.abspath(sys.argv[2])
modules = "/usr/lib/nginx/modules"
siphook = os.path.join(os.path.dirname(so), "siphook")
env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", LD_PRELOAD=os.environ.get("PRELOAD", ""))


class Server:
    def __init__(self, folder, plan, listen, peer, extra="", workers=2):
        self.folder, self.plan, self.listen, self.peer, self.workers = folder, plan, listen, peer, workers
        self.log, self.conf = os.path.join(folder, "error.log"), os.path.join(folder, "nginx.conf")
        self.control = os.path.join(folder, "state", "control")
        self.http = free_port(socket.SOCK_STREAM)
        self.configure(extra)
        open(self.log, "a").close()
        self.process = None

    def configure(self, extra="", plan=None):
        lua = "".join(f"load_module {modules}/{m};\n" for m in ("ndk_http_module.so", "ngx_http_lua_module.so") if os.path.exists(f"{modules}/{m}"))
        with open(self.conf, "w") as f:
            f.write(f"""{lua}load_module {module};
daemon off;
worker_processes {self.workers};
pid {self.folder}/nginx.pid;
error_log {self.log} notice;
siphook on;
siphook_object {so};
siphook_script {plan or self.plan};
siphook_folder {self.folder}/state;
siphook_listen {" ".join(self.listen)};
siphook_option config.peer {self.peer};
{extra}
events {{ worker_connections 64; }}
http {{
    access_log off;
    proxy_cache_path {self.folder}/cache keys_zone=some:1m;
    server {{
        listen 127.0.0.1:{self.http};
        location = /siphook {{ siphook_status; }}
        location = /lua {{ content_by_lua_block {{ ngx.say(_VERSION, " ", jit and "jit") }} }}
    }}
}}
""")

    def start(self):
        self.process = subprocess.Popen(["nginx", "-c", self.conf], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def test(self):
        p = subprocess.run(["nginx", "-t", "-c", self.conf], env=env, capture_output=True, text=True, timeout=60)
        return p.returncode, p.stderr

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def logged(self):
        return open(self.log, errors="replace").read()

    def get(self, path, accept=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", headers={"Accept": accept} if accept else {})
        with urllib.request.urlopen(request, timeout=5) as r:
            return r.headers["Content-Type"], r.read().decode()

    def status(self):
        return json.loads(self.get("/siphook")[1])

    def command(self, *words):
        p = subprocess.run([siphook, *words, "-s", self.control], env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"), capture_output=True, text=True, timeout=60)
        return p.returncode, p.stdout + p.stderr

    def sip_worker(self):
        return int(re.findall(r"\[notice\] (\d+)#\d+: siphook: version", self.logged())[-1])

    def serving(self):
        return self.logged().count("siphook: version")

    def stop(self):
        self.process.send_signal(signal.SIGQUIT)
        code = self.process.wait(30)
        assert code == 0, code
        assert "[alert]" not in self.logged() and "Sanitizer" not in self.logged(), "nothing went wrong"


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
        assert server.serving() == 1, "exactly one worker, no helper process"
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
        server.process.kill()
        print(server.logged(), file=sys.stderr)
        raise


def reloads_lose_no_call(folder):
    """Ten HUPs under 200 calls a second, each of which lasts for a second; and one call that lasts across all of them."""
    plan, port, phone_port = os.path.join(here, "host.lua"), free_port(), free_port()
    server = Server(folder, plan, [f"udp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port}"], f"sip:phone@127.0.0.1:{phone_port}").start()
    try:
        caller = Caller(port)
        assert caller.options(10) == 200
        load = sipp_call(port, phone_port, folder, hold_ms=1000, calls=2400, rate=200)
        for n in range(10):
            time.sleep(1)
            server.reload()
            wait_for("the next worker serves", 10, lambda: server.serving() == n + 2)
        sipp_passed(load, folder)
        assert caller.options() == 200
        assert server.status()["forwards_lost"] == 0
        wait_for("the workers before are gone", 60, lambda: len(os.listdir(os.path.join(folder, "state"))) == 3)
        server.stop()
    except BaseException:
        server.process.kill()
        print(server.logged()[-8000:], file=sys.stderr)
        raise


with tempfile.TemporaryDirectory() as top:
    os.chmod(top, 0o755)

    def folder(name):
        path = os.path.join(top, name)
        os.mkdir(path)
        return path

    for test in [serves, reloads_lose_no_call]:
        if len(sys.argv) < 4 or test.__name__ == sys.argv[3]:
            test(folder(test.__name__))
