"""Stock PostgreSQL with the adapter inside, in a cluster of its own: postgresql.py ADAPTERS SIPHOOK.SO FAKES. Only as root, since a
server does not run as root, and CREATE EXTENSION looks into a folder of the system: in a mount namespace it is ours."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

from server import Log, copied, environment, explained, folder_for, plan_text, write
from sip import Caller, free_port, sipp_call, sipp_passed, wait_for

adapters, so, fakes = (os.path.abspath(a) for a in sys.argv[1:4])
if os.environ.get("PRELOAD"):
    os.environ["PRELOAD"] += " " + os.path.join(fakes, "no_catalogues.so")
programs, extensions = "/usr/lib/postgresql/15/bin/", "/usr/share/postgresql/15/extension"
sources = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/hosts/postgresql")

if not os.environ.get("SIPHOOK_OWN_NET"):
    print("skipped: no mount namespace of its own")
    sys.exit(0)


def run(*command, env=None, must=True):
    done = subprocess.run(command, env=env, user="postgres", group="postgres", cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    assert not must or done.returncode == 0, (command, done.stdout)
    return done.stdout


class Server:
    def __init__(self, folder, parameters):
        self.folder, self.data, self.port = folder, os.path.join(folder, "data"), free_port()
        self.log = Log(os.path.join(folder, "server.log"))
        run(programs + "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync")
        with open(os.path.join(self.data, "postgresql.conf"), "a") as f:
            f.write(f"shared_preload_libraries = '{copied(os.path.join(adapters, 'siphook_postgresql.so'), folder)}'\nport = {self.port}\n")
            f.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nfsync = off\n")
        self.configure(parameters)

    def configure(self, parameters):
        """Parameters in place of those of the last time."""
        path = os.path.join(self.data, "postgresql.auto.conf")
        write(path, "".join(f"{key} = '{value}'\n" for key, value in parameters.items()))
        shutil.chown(path, "postgres")

    def ctl(self, command, *more):
        # pg_ctl's own output and that of the server must not end in our pipe, which the server would keep open
        run("sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", programs + "pg_ctl", "-D", self.data, "-l", self.log.path, "-w", *more, command, env=environment(self.folder))

    def sql(self, text, user="postgres", must=True):
        return run("psql", "-X", "-A", "-t", "-q", "-h", self.folder, "-p", str(self.port), "-U", user, "-c", text, "postgres", must=must).strip()

    def kill(self):
        subprocess.run([programs + "pg_ctl", "-D", self.data, "-m", "immediate", "stop"], user="postgres", cwd="/", stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


def serves(folder, server, parameters, port, phone_port):
    plan, log = parameters["siphook.script"], server.log
    server.ctl("start")
    log.says("serves SIP in process")
    caller = Caller(port)
    assert caller.options() == 200
    sipp_passed(sipp_call(port, phone_port, folder), folder)

    server.sql("CREATE EXTENSION siphook")
    server.sql("CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher; CREATE ROLE nobody LOGIN")
    assert server.sql("SELECT siphook_status() ->> 'calls_answered'") == "1"
    assert server.sql("SELECT count(*) FROM siphook_calls()", user="watcher") == "0"
    for user, statement in (("nobody", "SELECT * FROM siphook_calls()"), ("watcher", "SELECT siphook_reload()"), ("watcher", "SELECT siphook_ask('stop')")):
        assert "permission denied" in server.sql(statement, user, must=False)
    assert "no such call: x" in server.sql("SELECT siphook_hangup('x')", must=False)

    # Reloads during a call: as its users do, by a function, and a broken one. The call goes on.
    during = sipp_call(port, phone_port, folder, hold_ms=2500)
    wait_for("the call is up", 10, lambda: server.sql("SELECT state FROM siphook_calls() WHERE uri LIKE 'sip:test@%'") == "up")
    server.ctl("reload")
    log.says("siphook: generation 2 of")
    assert server.sql("SELECT siphook_reload()") == "3"
    write(plan, "local a = = 1\n")
    assert "plan.lua:1:" in server.sql("SELECT siphook_reload()", must=False)
    log.says("plan.lua:1:")
    write(plan, plan_text)
    server.configure(dict(parameters, **{"siphook.workers": 2}))
    server.ctl("reload")
    log.says('parameter "siphook.workers" was changed')
    server.configure(parameters)
    sipp_passed(during, folder)

    log.mark()
    server.ctl("restart", "-m", "fast")
    log.says("serves SIP in process")
    assert caller.options() == 200

    # What its README warns of: a worker that dies takes all sessions along. SIP and SQL come back.
    log.mark()
    os.kill(int(re.findall(r"serves SIP in process (\d+)", log.text())[-1]), signal.SIGKILL)
    log.says("serves SIP in process")
    assert caller.options() == 200
    wait_for("SQL comes back", 20, lambda: server.sql("SELECT 1", must=False) == "1")
    server.ctl("stop", "-m", "fast")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))


def mistakes_are_lines_in_its_log(folder, server, parameters):
    """One after the other in a server that goes on running; pg_reload_conf() tries each time."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    bad = write(os.path.join(folder, "bad.lua"), "local a = = 1\n")
    none, short = (copied(os.path.join(fakes, "fake_%s.so" % name), folder) for name in ("none", "short"))
    log, first = server.log, True
    for change, words in (
        ({"siphook.object": none}, "is no siphook.so with the host interface"),
        ({"siphook.object": short}, "is no siphook.so with the host interface"),
        ({"siphook.wrokers": 2}, 'did you mean "workers"'),
        ({"siphook.script": bad}, "bad.lua:1:"),
        ({"siphook.listen": "udp://127.0.0.1:%d" % taken.getsockname()[1]}, "Address already in use"),
        ({"siphook.control": "/tmp/x"}, "siphook.control: the control socket is"),
    ):
        log.mark()
        server.configure(dict(parameters, **change))
        server.ctl("start" if first else "reload")
        first = False
        log.says(words)
        assert log.new().count(words) == 1
        assert "does not run" in server.sql("SELECT siphook_status()", must=False)
    server.configure(parameters)
    server.ctl("reload")
    log.says("serves SIP in process")
    assert server.sql("SELECT siphook_status() ->> 'generation'") == "1"
    server.ctl("stop", "-m", "fast")
    taken.close()


with folder_for("postgres") as folder:
    ours = os.path.join(folder, "extension")
    shutil.copytree(extensions, ours)
    shutil.copy(os.path.join(sources, "siphook--1.0.sql"), ours)
    write(os.path.join(ours, "siphook.control"), open(os.path.join(sources, "siphook.control")).read().replace("@libdir@", folder))
    subprocess.run(["mount", "--bind", ours, extensions], check=True)
    port, phone_port = free_port(), free_port()
    parameters = {
        "siphook.object": copied(so, folder), "siphook.script": write(os.path.join(folder, "plan.lua"), plan_text),
        "siphook.listen": f"udp://127.0.0.1:{port} tcp://127.0.0.1:{port}", "siphook.config_peer": f"sip:phone@127.0.0.1:{phone_port}"}
    server = Server(folder, parameters)
    with explained(server.log):
        try:
            serves(folder, server, parameters, port, phone_port)
            mistakes_are_lines_in_its_log(folder, server, parameters)
        except BaseException:
            server.kill()
            raise
