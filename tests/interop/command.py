"""The command as its user types it: what is refused, with which words, and what goes on meanwhile."""
import json
import os
import signal
import socket
import subprocess
import time

import house
from house import HOST, must, text_of, until

PLAN = """local sip = require "siphook"
sip.on.invite(function(call)
  if call.uri.user == "loop" then while true do end end
  if call.uri.user == "ring" then call:ring(180) sip.sleep(60) end
  if call.uri.user == "up" then call:answer{ sdp = "v=0\\r\\no=- 1 1 IN IP4 127.0.0.1\\r\\ns=-\\r\\nc=IN IP4 127.0.0.1\\r\\nt=0 0\\r\\nm=audio 4000 RTP/AVP 0\\r\\n" } return end
  call:reject(486, "Busy by plan %d")
end)
"""

# what the file says, and what the refusal must say
BROKEN = (
    ("a syntax error", "local sip = require 'siphook'\nsip.on.invite(function(call\nend)\n", "broken.lua:3:"),
    ("an endless loop", "local n = 0\nwhile true do n = n + 1 end\n", "broken.lua:2:"),
    ("an allocation of 1 GB", "local s = string.rep('x', 1 << 30)\n", "broken.lua:1:"),
    ("an error of its own", "\n\nerror('no database')\n", "broken.lua:3: no database"),
    ("an error that is no UTF-8", "error('\\xff\\xfe')\n", "broken.lua:1:"),
    ("an unknown hook", "local sip = require 'siphook'\nsip.on.invit(function() end)\n", "broken.lua:2:"),
)


class Caller:
    """INVITEs over UDP, one at a time, each with its ACK."""

    def __init__(self, server):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((HOST, server.port))
        self.socket.settimeout(5)
        self.port = self.socket.getsockname()[1]
        self.count = 0

    def request(self, method, user, branch, to="", cseq="1"):
        return (f"{method} sip:{user}@{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:{self.port};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n"
                f"From: <sip:c@{HOST}>;tag=t{branch}\r\nTo: <sip:{user}@{HOST}>{to}\r\nCall-ID: {branch}-{self.port}\r\nCSeq: {cseq} {method}\r\n"
                f"Contact: <sip:c@{HOST}:{self.port}>\r\nContent-Length: 0\r\n\r\n").encode()

    def begin(self, user):
        """An INVITE is sent; its branch."""
        self.count += 1
        branch = f"n{self.count}"
        self.socket.send(self.request("INVITE", user, branch))
        return branch

    def hear(self, begins):
        """The first message from now on that begins so."""
        while True:
            message = self.socket.recv(65536).decode()
            if message.startswith(begins):
                return message

    def cancel(self, user, branch):
        self.socket.send(self.request("CANCEL", user, branch))
        self.finish(user, branch)

    def answer(self, request):
        """200 to a request of the server."""
        wanted = ("via:", "from:", "to:", "call-id:", "cseq:")
        lines = [x for x in request.split("\r\n") if x.lower().startswith(wanted)]
        self.socket.send("\r\n".join(["SIP/2.0 200 OK", *lines, "Content-Length: 0", "", ""]).encode())

    def call(self, user):
        """The status line of the final answer."""
        return self.finish(user, self.begin(user))

    def finish(self, user, branch):
        while True:
            answer = self.socket.recv(65536).decode()
            if f"Call-ID: {branch}-{self.port}\r\n" not in answer or "CSeq: 1 INVITE" not in answer:
                continue
            line = answer.split("\r\n")[0]
            if " 1" in line[:9]:
                continue
            to = next(x for x in answer.split("\r\n") if x.lower().startswith("to:"))
            self.socket.send(self.request("ACK", user, branch, ";tag=" + to.split(";tag=")[1]))
            return line


def other_users():
    """Whether this process may become somebody else: not as root of a user namespace."""
    with open("/proc/self/uid_map") as f:
        return os.geteuid() == 0 and int(f.readline().split()[2]) > 65534


def refused_user(part, server):
    with part.test("command: a process of another user is refused with the reason"):
        os.chmod(part.folder, 0o711)
        os.chmod(server.control, 0o666)
        program = os.open(part.siphook, os.O_RDONLY)
        try:  # by its descriptor: nobody may have no way to its folder
            asked = subprocess.run(["siphook", "status", "-s", server.control], executable=f"/proc/self/fd/{program}", pass_fds=[program],
                                   user=65534, capture_output=True, text=True, timeout=20)
        finally:
            os.close(program)
            os.chmod(server.control, 0o600)
            os.chmod(part.folder, 0o700)
        must(asked.returncode == 1 and "permission denied" in asked.stderr, f"{asked}")


def refused_start(part, name, words, *args):
    with part.test(f"command: {name} gives one clear line and exit code 1"):
        program = house.Program(part, "refused", [part.siphook, "run", "-s", part.file("refused.control"), *args])
        code = program.wait()
        said = text_of(program.log).strip()
        must(code == 1 and len(said.splitlines()) == 1 and words in said, f"code {code}: {said}")


def tests(part):
    script = part.file("plan.lua", PLAN % 1)
    with part.test("command: siphook starts", keep=True):
        server = house.Server(part, script)
    caller = Caller(server)
    for name, text, words in BROKEN:
        with part.test(f"command: {name} is refused on reload while calls go on"):
            before = server.generation
            part.file("broken.lua", text)
            code, said = check(part, "broken.lua")
            must(code == 1 and words in said, f"check says {words}: {code} {said}")
            part.file("plan.lua", text)
            code, said = server.command("reload")
            must(code == 1 and words.replace("broken", "plan") in said, f"reload says {words}: {code} {said}")
            code, said = server.command("reload", "--json")
            must(code == 1 and words.replace("broken", "plan") in json.loads(said)["error"], f"as JSON too: {code} {said}")
            code, said = check(part, "broken.lua", "--json")
            must(code == 1 and words in json.loads(said)["error"], f"check, as JSON: {code} {said}")
            must(server.generation == before, "the old generation goes on")
            must(caller.call("x") == "SIP/2.0 486 Busy by plan 1", "a call is routed by it")
    with part.test("command: a missing file is refused on reload"):
        os.unlink(script)
        code, said = server.command("reload")
        must(code == 1 and "plan.lua" in said and "No such file" in said, f"{code} {said}")
        must(caller.call("x") == "SIP/2.0 486 Busy by plan 1", "a call is routed by the old one")
    with part.test("command: an endless loop in a hook costs that call alone"):
        must(caller.call("loop").startswith("SIP/2.0 500"), "that call gets 500")
        must(caller.call("x") == "SIP/2.0 486 Busy by plan 1", "the next one is routed")
        must(server.says("plan.lua:3:"), "the log names the line")
    with part.test("command: SIGHUP reloads"):
        part.file("plan.lua", PLAN % 2)
        before = server.generation
        server.send(signal.SIGHUP)
        until("the new generation is in use", lambda: server.generation > before)
        must(caller.call("x") == "SIP/2.0 486 Busy by plan 2", "a call is routed by it")
    with part.test("command: rollback goes back to the dial plan before"):
        code, said = server.command("rollback")
        must(code == 0 and "generation" in said, f"{code} {said}")
        must(caller.call("x") == "SIP/2.0 486 Busy by plan 1", "a call is routed by the text before, whatever the disk has")
        code, said = server.command("rollback")
        must(code == 1 and "no generation before" in said, f"{code} {said}")
        code, said = server.command("reload")
        must(caller.call("x") == "SIP/2.0 486 Busy by plan 2", "a reload reads the disk again")
        generations = json.loads(server.command("status", "--json")[1])["generations"]
        must([g["current"] for g in generations] == [True], f"one generation is alive: {generations}")
        must(len(generations[0]["hash"]) == 16 and generations[0]["calls"] == 0, f"{generations}")
    with part.test("command: hangup ends a call that rings with 480"):
        branch = caller.begin("ring")
        caller.hear("SIP/2.0 180")
        calls = json.loads(server.command("calls", "--json")[1])
        must(len(calls) == 1, f"one call: {calls}")
        code, said = server.command("hangup", "--json", calls[0]["id"])
        must(code == 0 and json.loads(said) == {"ok": True}, f"{code} {said}")
        must(caller.finish("ring", branch).startswith("SIP/2.0 480"), "the caller is told")
        until("the call is gone", lambda: json.loads(server.command("calls", "--json")[1]) == [])
    with part.test("command: hangup ends a call that is up with BYE"):
        must(caller.call("up").startswith("SIP/2.0 200"), "the call is answered")
        calls = json.loads(server.command("calls", "--json")[1])
        must(len(calls) == 1, f"one call: {calls}")
        code, said = server.command("hangup", calls[0]["id"])
        must(code == 0 and not said, f"{code} {said}")
        caller.answer(caller.hear("BYE sip:c@"))
        until("the call is gone", lambda: json.loads(server.command("calls", "--json")[1]) == [])
    with part.test("command: with four generations alive reloads wait, and become one"):
        rings = []
        for _ in range(3):
            rings.append(caller.begin("ring"))
            caller.hear("SIP/2.0 180")
            code, said = server.command("reload")
            must(code == 0, said)
        rings.append(caller.begin("ring"))
        caller.hear("SIP/2.0 180")
        must(len(json.loads(server.command("status", "--json")[1])["generations"]) == 4, "four are alive")
        before = server.generation
        waiting = [subprocess.Popen([part.siphook, "reload", "-s", server.control], stdout=subprocess.PIPE, text=True) for _ in range(3)]
        try:
            time.sleep(0.5)
            must(all(w.poll() is None for w in waiting) and server.generation == before, "all three wait")
            caller.cancel("ring", rings.pop(0))
            said = {w.communicate(timeout=20)[0] for w in waiting}
        finally:
            for w in waiting:
                w.kill()
        must(said == {f"generation {before + 1}\n"}, f"one generation for all: {said}")
        for branch in rings:
            caller.cancel("ring", branch)
        until("the old ones are gone", lambda: len(json.loads(server.command("status", "--json")[1])["generations"]) == 1)
    if other_users():
        refused_user(part, server)
    with part.test("command: an unknown call to hang up is an error"):
        code, said = server.command("hangup", "nobody")
        must(code == 1 and "nobody" in said, f"{code} {said}")
    refused_start(part, "an occupied port", "in use", "-l", f"udp://{HOST}:{server.port}", script)
    refused_start(part, "a missing script", "No such file", "-l", f"udp://{HOST}:{house.port()}", part.file("nowhere.lua"))
    refused_start(part, "a bad URI", "udp:/nowhere", "-l", "udp:/nowhere", script)
    refused_start(part, "an unknown option", "colour", "-o", "colour=red", script)
    with part.test("command: stop ends the server"):
        code, said = server.command("stop")
        must(code == 0, said)
        must(server.wait() == 0, "siphook ends with 0")
        part.end()
    with part.test("command: watch reloads when the script is saved"):
        part.file("plan.lua", PLAN % 1)
        server = house.Server(part, script, "watch=yes")
        part.file("plan.lua", PLAN % 3)
        until("the new generation is in use", lambda: server.generation == 2)
        must(Caller(server).call("x") == "SIP/2.0 486 Busy by plan 3", "a call is routed by it")
    with part.test("command: a store that persists survives a restart"):
        part.file("kept.lua", 'local sip = require "siphook"\nlocal s = sip.shared("boxes", { persist = true })\n'
                              'sip.on.invite(function(call) call:reject(486, "Busy by plan " .. s:incr("n")) end)\n')
        folder = os.path.join(part.folder, "state")
        for n in (1, 3):
            server = house.Server(part, os.path.join(part.folder, "kept.lua"), f"data={folder}")
            caller = Caller(server)
            must(caller.call("x") == f"SIP/2.0 486 Busy by plan {n}", "counted")
            must(caller.call("x") == f"SIP/2.0 486 Busy by plan {n + 1}", "counted")
            server.command("stop")
            must(server.wait() == 0, "siphook ends with 0")
            part.end()
        must(os.listdir(folder) == ["boxes.store"], f"{os.listdir(folder)}")
    for signo in (signal.SIGINT, signal.SIGTERM):
        with part.test(f"command: {signo.name} ends a live call"):
            part.file("ring.lua", 'local sip = require "siphook"\nsip.on.invite(function(call) call:ring() sip.sleep(60) end)\n')
            server = house.Server(part, part.file("ring.lua"))
            caller = Caller(server)
            caller.socket.send(caller.request("INVITE", "x", "live"))
            until("the call is there", lambda: len(server.ask("calls")) == 1)
            server.send(signo)
            began = time.monotonic()
            while not (line := caller.socket.recv(65536).decode().split("\r\n")[0]).startswith("SIP/2.0 503"):
                must(line.startswith("SIP/2.0 1"), line)
            must(server.wait() == 0 and time.monotonic() - began < 7, "siphook ends with 0, within its deadline")


def check(part, name, *options):
    done = subprocess.run([part.siphook, "check", *options, part.file(name)], capture_output=True, text=True, errors="replace", timeout=30)
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    house.run(tests)
