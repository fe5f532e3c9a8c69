"""Stock nginx with its LuaJIT module and the adapter inside. Arguments: BUILD_HOSTS SIPHOOK.SO; PRELOAD: a sanitizer's runtime."""
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

from sip import free_port, wait_for

module, so = os.path.join(os.path.abspath(sys.argv[1]), "ngx_siphook_module.so"), os.path.abspath(sys.argv[2])
modules = "/usr/lib/nginx/modules"
siphook = os.path.join(os.path.dirname(so), "siphook")
env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", LD_PRELOAD=os.environ.get("PRELOAD", ""))


def alive(pid):
    """Not gone, and no zombie that nobody has waited for."""
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Server:
    def __init__(self, folder, plan, listen, peer, extra="", workers=2):
        self.folder, self.plan, self.listen, self.peer, self.workers = folder, plan, listen, peer, workers
        self.log, self.conf = os.path.join(folder, "error.log"), os.path.join(folder, "nginx.conf")
        self.daemon = "off"
        self.control = os.path.join(folder, "state", "control")
        self.http = free_port()
        self.configure(extra)
        open(self.log, "a").close()
        self.process, self.pids = None, []  # pids: of masters that have detached themselves

    def configure(self, extra="", plan=None):
        lua = "".join(f"load_module {modules}/{m};\n" for m in ("ndk_http_module.so", "ngx_http_lua_module.so") if os.path.exists(f"{modules}/{m}"))
        with open(self.conf, "w") as f:
            f.write(f"""{lua}load_module {module};
daemon {self.daemon};
env LD_PRELOAD;
env ASAN_OPTIONS;
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
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-c", self.conf], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def detach(self):
        """As a daemon; its process id."""
        self.daemon = "on"
        self.configure()
        self.start()
        assert self.process.wait(20) == 0
        return self.master()

    def master(self):
        self.pids.append(int(open(os.path.join(self.folder, "nginx.pid")).read()))
        return self.pids[-1]

    def test(self):
        p = subprocess.run(["/usr/sbin/nginx", "-t", "-c", self.conf], env=env, capture_output=True, text=True, timeout=60)
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

    def registrations(self):
        return json.loads(self.get("/siphook?registrations")[1])

    def failing(self, path):
        try:
            self.get(path)
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        return 200, ""

    def kill(self, well=True):
        """At once, calls or not. well: the test has passed, so nothing may have gone wrong."""
        for pid in filter(alive, self.pids):
            os.kill(pid, signal.SIGTERM)
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        wait_for("nginx ends", 20, lambda: not any(map(alive, self.pids)))
        if well:
            assert "[alert]" not in self.logged() and "Sanitizer" not in self.logged(), self.logged()

    def stop(self):
        self.process.send_signal(signal.SIGQUIT)
        code = self.process.wait(30)
        assert code == 0, code
        assert "[alert]" not in self.logged() and "Sanitizer" not in self.logged(), "nothing went wrong"
