"""What the parts of this folder share: a siphook server of their own, other programs beside it, and the report."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = "127.0.0.1"
PATIENCE = 15  # seconds, for anything that has to happen


class Failure(Exception):
    pass


class Abandoned(Exception):
    """What the other tests of a part need did not come to be."""


def until(what, condition, seconds=PATIENCE):
    """The first true value of condition(); Failure when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"within {seconds} s: {what}")
        time.sleep(0.02)


def must(condition, what):
    if not condition:
        raise Failure(what)


_given = set()


def _free(number):
    """Both kinds of socket can be bound."""
    with contextlib.ExitStack() as stack:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            try:
                stack.enter_context(socket.socket(socket.AF_INET, kind)).bind((HOST, number))
            except OSError:
                return False
    return True


def port(even=False):
    """A number that is free for UDP and TCP, and was not given before. even: it is, and its successor is free too."""
    for _ in range(1000):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            number = probe.getsockname()[1]
        wanted = [number + number % 2, number + number % 2 + 1] if even else [number]
        if wanted[-1] < 65536 and not _given.intersection(wanted) and all(map(_free, wanted)):
            _given.update(wanted)
            return wanted[0]
    raise Failure("a free port")


def text_of(path, last=None):
    try:
        with open(path, errors="replace") as f:
            text = f.read()
    except OSError:
        return ""
    return text if last is None else "\n".join(text.splitlines()[-last:])


class Program:
    """A process that is ended with the part, by its pid; its output is a file."""

    def __init__(self, part, name, command, env=None, cwd=None, stdin=subprocess.DEVNULL):
        self.name = name
        self.log = part.file(name + ".log")
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(command, stdin=stdin, stdout=out, stderr=subprocess.STDOUT,
                                            env=env, cwd=cwd)
        part.programs.append(self)

    @property
    def running(self):
        return self.process.poll() is None

    def send(self, signo):
        self.process.send_signal(signo)

    def wait(self, seconds=PATIENCE):
        """The exit code; Failure when it has to be ended."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise Failure(f"{self.name} ends within {seconds} s") from None

    def end(self):
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def says(self, text):
        return text in text_of(self.log)


def certificate(part, name, days=30, names=f"IP:{HOST},DNS:example.org"):
    """A self-signed certificate and its key in one file."""
    path = part.file(f"{name}.pem")
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days),
                           "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}", "-keyout", path + ".key", "-out", path],
                          capture_output=True, text=True, timeout=30)
    must(done.returncode == 0, f"openssl makes a certificate: {done.stderr}")
    with open(path, "a") as f, open(path + ".key") as key:
        f.write(key.read())
    return path


class Server(Program):
    """siphook itself, with this script, on one port for UDP and TCP; tls: a certificate, and a port for TLS and secure WebSocket."""
    count = 0

    def __init__(self, part, script, *options, number=None, tls=None, host=HOST):
        Server.count += 1
        self.siphook = part.siphook
        self.port = number or port()
        self.tls_port = port() if tls else None
        self.control = part.file(f"control{Server.count}")
        listens = [f"{scheme}://{host}:{self.port}" for scheme in ("udp", "tcp", "ws")]
        if tls:
            listens += [f"{scheme}://{host}:{self.tls_port}" for scheme in ("tls", "wss")]
            options += (f"tls_certificate={tls}",)
        command = [self.siphook, "run", "-s", self.control]
        for listen in listens:
            command += ["-l", listen]
        for option in options:
            command += ["-o", option]
        super().__init__(part, f"siphook{Server.count}", command + [script])
        until("siphook listens", lambda: self.says("listening on") or not self.running)
        must(self.running, "siphook runs: " + text_of(self.log))

    def command(self, verb, *args):
        """(exit code, what it said)"""
        done = subprocess.run([self.siphook, verb, "-s", self.control, *args], capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout + done.stderr

    def ask(self, verb):
        code, said = self.command(verb, "--json")
        must(code == 0, f"siphook {verb} answers: {said}")
        return json.loads(said)

    @property
    def generation(self):
        return self.ask("status")["generation"]

    def reload(self):
        """The new generation's number."""
        code, said = self.command("reload", "--json")
        must(code == 0, f"siphook reload: {said}")
        return json.loads(said)["generation"]

    def idle(self):
        return self.ask("calls") == []

    def stop(self, signo=signal.SIGTERM, seconds=PATIENCE):
        """Ends it politely and gives its exit code."""
        if self.running:
            self.send(signo)
        return self.wait(seconds)


class Part:
    """One file of tests: python3 PART.py FOLDER. Prints a line for each test and the sum."""

    def __init__(self, folder):
        self.siphook = os.path.abspath(os.path.join(folder, "siphook"))
        self.folder = tempfile.mkdtemp(prefix="siphook-")
        self.programs = []
        self.passed = self.failed = 0

    def file(self, name, text=None):
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path + ".new", "w") as f:
                f.write(text)
            os.rename(path + ".new", path)
        return path

    @contextlib.contextmanager
    def test(self, name, keep=False):
        """One test; what it started is ended with it, and shown if it failed. keep: its programs live on if it
        succeeded; the tests that follow need them, and the part ends if it failed."""
        first = len(self.programs)
        began = time.monotonic()
        try:
            yield
        except (Failure, subprocess.TimeoutExpired, OSError, ValueError, KeyError, IndexError, TypeError) as e:
            self.failed += 1
            print(f"not ok - {name}")
            print("#   " + f"{type(e).__name__}: {e}".removeprefix("Failure: ").replace("\n", "\n#   "))
            # a server that outlives the test is asked to say its last lines too
            for program in self.programs:
                if program in self.programs[first:] or isinstance(program, Server) and program.running:
                    print(f"#   the end of {program.name}:")
                    print("#     " + text_of(program.log, 40).replace("\n", "\n#     "))
            if keep:
                raise Abandoned from None
        else:
            self.passed += 1
            print(f"ok - {name}  # {time.monotonic() - began:.1f} s")
        finally:
            sys.stdout.flush()
            if not keep:
                self.end(first)

    def end(self, first=0):
        for program in self.programs[first:]:
            program.end()
        del self.programs[first:]

    def skip(self, name, why):
        print(f"ok - {name} # SKIP {why}", flush=True)

    def finish(self):
        self.end()
        if os.environ.get("KEEP"):
            print("# files: " + self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed else 0


def run(tests):
    """The main() of a part: tests(part) runs all of them."""
    part = Part(sys.argv[1])
    # a part that is stopped from outside ends its programs too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        tests(part)
    except Abandoned:
        print("# the tests that follow need that one")
    finally:
        code = part.finish()
    sys.exit(code)
