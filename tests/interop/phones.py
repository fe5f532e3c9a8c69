"""Two baresip phones register with digest and call each other through siphook, over UDP, TCP and TLS; RTP is counted at both.
baresip wants an address that is not a loopback one: run.sh gives it one on the loopback device of a network namespace."""
import json
import os
import re
import socket
import wave

import house
from house import HERE, HOST, Failure, must, text_of, until

TALK = 3  # seconds

CONFIG = """poll_method epoll
sip_listen 0.0.0.0:{port}
audio_player aubridge,null
audio_source aufile,{folder}/tone.wav
rtp_stats yes
module_path {modules}
module g711.so
module aufile.so
module aubridge.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen {host}:{control}
"""
ACCOUNT = ("<sip:{user}@{host}:{server};transport={transport}>;auth_user={user};auth_pass={password};regint=300;answermode={answer};"
           "audio_codecs=pcma\n")
MODULES = "/usr/lib/baresip/modules"


def tone(path):
    """A minute of 8 kHz sawtooth."""
    with wave.open(path, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(8000)
        f.writeframes(b"".join((400 * i).to_bytes(2, "little") for i in range(20)) * 24000)


def port_for(server, transport):
    return server.tls_port if transport == "tls" else server.port


class Phone(house.Program):
    """One baresip with a folder of its own, driven over its control connection: JSON in netstrings."""

    def __init__(self, part, server, transport, user, password, answer):
        folder = part.file(f"{user}-{transport}")
        control = house.port()
        os.mkdir(folder)
        with open(os.path.join(folder, "config"), "w") as f:
            f.write(CONFIG.format(port=house.port(even=True), host=HOST, control=control, modules=MODULES, folder=folder))
        tone(os.path.join(folder, "tone.wav"))
        with open(os.path.join(folder, "accounts"), "w") as f:
            f.write(ACCOUNT.format(user=user, host=HOST, server=port_for(server, transport), transport=transport, password=password, answer=answer))
        self.user = user
        self.transport = transport
        self.events = []
        self.input = b""
        self.link = None
        super().__init__(part, f"{user}-{transport}", ["baresip", "-4", "-f", folder], cwd=folder)
        until(f"{user}'s baresip can be driven", lambda: self.connect(control))

    def connect(self, control):
        must(self.running, f"baresip runs: {text_of(self.log, 10)}")
        try:
            self.link = socket.create_connection((HOST, control), 1)
        except OSError:
            return False
        self.link.setblocking(False)
        return True

    def uri(self, server, user):
        return f"sip:{user}@{HOST}:{port_for(server, self.transport)}" + (";transport=tls" if self.transport == "tls" else "")

    def tell(self, command, params=""):
        text = json.dumps({"command": command, "params": params, "token": "t"}).encode()
        self.link.sendall(b"%d:%s," % (len(text), text))

    def read(self):
        """Takes what it has reported."""
        try:
            while chunk := self.link.recv(65536):
                self.input += chunk
        except BlockingIOError:
            pass
        while (head := re.match(rb"(\d+):", self.input)) and len(self.input) > head.end() + int(head[1]):
            end = head.end() + int(head[1])
            said = json.loads(self.input[head.end():end])
            self.input = self.input[end + 1:]
            if said.get("event"):
                self.events.append(said)

    def expect(self, kind):
        """The next report of this kind; those before it are dropped."""
        def found():
            self.read()
            for i, event in enumerate(self.events):
                if event["type"] == kind:
                    del self.events[:i + 1]
                    return event
            return None
        try:
            return until(f"{self.user} reports {kind}", found)
        except Failure as e:
            raise Failure(f"{e}; reported: {[(x['type'], x.get('param')) for x in self.events]}\n{text_of(self.log, 15)}") from None

    def packets(self):
        """RTP packets of its calls so far, as baresip counts them when a call ends: [(sent, received), ...]"""
        return [(int(s), int(r)) for s, r in re.findall(r"^packets: +(\d+) +(\d+)", text_of(self.log), re.M)]

    def leaves(self):
        self.tell("quit")
        must(self.wait() == 0, f"{self.user}'s baresip ends well")


def talk(server, caller, callee, dials, hangs_up, during=lambda: None):
    """A call with RTP both ways, counted at both ends, that `hangs_up` ends."""
    before = [len(p.packets()) for p in (caller, callee)]
    caller.tell("dial", caller.uri(server, dials))
    caller.expect("CALL_ESTABLISHED")
    callee.expect("CALL_ESTABLISHED")
    calls = server.ask("calls")
    must(len(calls) == 1 and calls[0]["state"] == "up", f"one call is up: {calls}")
    during()
    until(f"they have talked for {TALK} s", lambda: server.ask("calls")[0]["duration"] >= TALK)
    must(len(server.ask("calls")) == 1, "the call is still up")
    hangs_up.tell("hangup")
    for phone in (caller, callee):
        phone.expect("CALL_CLOSED")
    until("no call is left", server.idle)
    for phone, count in zip((caller, callee), before):
        until(f"{phone.user} has counted", lambda: len(phone.packets()) > count)
        sent, received = phone.packets()[-1]
        # 50 packets a second, less what the ends lose while they start and stop
        must(sent >= 40 * TALK and received >= 40 * TALK, f"{phone.user} sent {sent} and received {received} packets of RTP")
        print(f"# {phone.user} sent {sent} and received {received} packets of RTP")


def over(part, transport):
    with open(os.path.join(HERE, "phones.lua")) as f:
        plan = f.read()
    name = f"baresip, {transport}: "
    script = part.file(f"phones-{transport}.lua", plan)
    with part.test(name + "two phones register with digest", keep=True):
        server = house.Server(part, script, tls=house.certificate(part, "siphook") if transport == "tls" else None)
        alice = Phone(part, server, transport, "alice", "wonder", "manual")
        bob = Phone(part, server, transport, "bob", "builder", "auto")
        until("both are registered", lambda: len(server.ask("registrations")) == 2)
        for phone in (alice, bob):
            until(f"{phone.user} knows", lambda: phone.says("200 OK (siphook"))
        bound = server.ask("registrations")
        must({re.search("alice|bob", b["aor"])[0] for b in bound} == {"alice", "bob"}, f"alice and bob are registered: {bound}")

    def edit():
        part.file(os.path.basename(script), plan.replace("version = 1", "version = 2"))
        must(server.reload() == 2, "a new generation")
        must(server.generation == 2, "the new generation is in use")

    with part.test(name + "they talk, the script is edited and reloaded meanwhile"):
        talk(server, alice, bob, "bob", hangs_up=bob, during=edit)
    with part.test(name + "the next call is routed by the new script"):
        talk(server, alice, bob, "secretary", hangs_up=alice)
        until("the log tells who answered", lambda: server.says("answered by plan 2"))
    with part.test(name + "the callee calls the caller, who answers by hand"):
        bob.tell("dial", bob.uri(server, "alice"))
        alice.expect("CALL_INCOMING")
        bob.expect("CALL_RINGING")
        alice.tell("accept")
        bob.expect("CALL_ESTABLISHED")
        bob.tell("hangup")
        alice.expect("CALL_CLOSED")
        until("no call is left", server.idle)
    with part.test(name + "the phones leave and take their bindings with them"):
        for phone in (alice, bob):
            phone.leaves()
        until("nobody is registered", lambda: server.ask("registrations") == [])
        must(server.stop() == 0, "siphook ends with 0")
    part.end()


def tests(part):
    for transport in ("udp", "tcp", "tls"):
        over(part, transport)


if __name__ == "__main__":
    house.run(tests)
