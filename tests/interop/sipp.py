"""SIPp's calls through siphook, over UDP and TCP, from the scenarios in sipp/."""
import os
import re

import house
from house import HERE, HOST, must, text_of, until

LIMIT = 15  # seconds of a scenario


class Sipp(house.Program):
    """One SIPp with the scenario sipp/NAME.xml: a caller when it has a server, else a callee."""
    host = HOST

    def __init__(self, part, name, transport, calls=1, server=None, dials="", talk=200, digest_uri="example.org", rate=None):
        self.port = house.port()
        self.trace = part.file(f"{name}.{self.port}.errors")
        self.messages = part.file(f"{name}.{self.port}.messages")
        command = ["sipp", "-sf", os.path.join(HERE, "sipp", name + ".xml"), "-i", self.host, "-p", str(self.port), "-t", transport[0] + "1",
                   "-m", str(calls), "-l", str(calls), "-r", str(rate or calls), "-nostdin", "-timeout", f"{LIMIT}s", "-timeout_error", "-recv_timeout", "8000",
                   "-trace_err", "-error_file", self.trace, "-trace_msg", "-message_file", self.messages, "-d", str(talk)]
        if digest_uri:
            command += ["-auth_uri", digest_uri]
        if server:
            host, number = (HOST, server.port) if self.host == HOST else (f"[{self.host}]", server.port6)
            command += ["-s", dials or "nobody", f"{host}:{number}"]
        super().__init__(part, f"{name}-{self.port}", command, cwd=part.folder)
        if not server:
            until(f"{name} listens", lambda: listens(self.port, transport, self.host) or not self.running)

    def succeeds(self, seconds=2):
        try:
            code = self.wait(seconds)
        except house.Failure as e:
            code = str(e)
        # stopped by a signal, SIPp ends with 0
        must(code == 0, f"{self.name} succeeds ({code}): {text_of(self.trace, 12)}\n--- messages\n{text_of(self.messages, 120)}")


def listens(number, transport, host=HOST):
    address = "0100007F" if host == HOST else "0" * 24 + "01000000"
    with open("/proc/net/" + transport + ("" if host == HOST else "6")) as f:
        local = re.compile(rf"^ *\d+: {address}:{number:04X} ", re.M)
        return local.search(f.read())


def pair(part, server, transport, caller, callee=None, calls=1, dials=None, talk=200, during=None, digest_uri="example.org"):
    """Both ends of a scenario must see what they expect; nothing is left in the server."""
    b = Sipp(part, callee, transport, calls) if callee else None
    a = Sipp(part, caller, transport, calls, server, dials or (b and f"bob-{b.port}-{transport}"), talk, digest_uri)
    if during:
        during()
    ends = [end for end in (a, b) if end]
    until("an end fails or all end", lambda: any(not e.running and e.process.returncode for e in ends) or not any(e.running for e in ends), LIMIT + 5)
    wrong = []
    for program in ends:
        try:
            program.succeeds()
        except house.Failure as e:
            wrong.append(str(e))
    must(not wrong, "\n".join(wrong))
    until("no call is left", server.idle)


CALLS = (
    ("the caller hangs up", "caller_hangs_up", "callee_waits"),
    ("the callee hangs up", "caller_waits", "callee_hangs_up"),
    ("the caller gives up while it rings", "caller_cancels", "callee_cancelled"),
    ("the callee is busy", "caller_busy", "callee_busy"),
    ("the caller holds and takes back", "caller_holds", "callee_held"),
    ("the callee holds", "caller_held", "callee_holds"),
    ("a change is refused and the call goes on", "caller_hold_refused", "callee_refuses_hold"),
    ("a reliable provisional answer and its PRACK", "caller_pracks", "callee_wants_prack"),
    ("a session timer: 422, agreement, refresh by UPDATE", "caller_with_timer", "callee_waits"),
    ("the callee changes to fax, T.38", "caller_faxed", "callee_faxes"),
    ("fax is refused and they talk on", "caller_fax_refused", "callee_refuses_fax"),
    ("messages in a call", "caller_texts", "callee_texts"),
    ("a message outside of a call", "message_out", "message_in"),
)


def registers(part, server, transport):
    with part.test(f"sipp, {transport}: a phone registers with digest and unregisters"):
        pair(part, server, transport, "register")
        bound = server.ask("registrations")
        if transport == "udp":
            must(len(bound) == 1 and "alice" in bound[0]["aor"], f"alice is registered: {bound}")
        else: # a contact is bound to the connection that it came by, and SIPp has closed that
            must(bound == [], f"the binding went with its connection: {bound}")
        pair(part, server, transport, "unregister")
        must(server.ask("registrations") == [], "nobody is registered")
    with part.test(f"sipp, {transport}: a wrong password gets a fresh challenge"):
        pair(part, server, transport, "register_wrong")
        must(server.ask("registrations") == [], "nobody is registered")
    # RFC 3261 22.4 item 6: not a failure, "due to forwarding at some proxy"; it is also what SIPp does by itself
    with part.test(f"sipp, {transport}: the URI in the credentials may be another than the request's"):
        pair(part, server, transport, "register", digest_uri=None)
        pair(part, server, transport, "unregister", digest_uri=None)
    with part.test(f"sipp, {transport}: an interval that is too short gets 423"):
        pair(part, server, transport, "register_brief")
        must(server.ask("registrations") == [], "nobody is registered")


def many(part, server, transport):
    with part.test(f"sipp, {transport}: 20 calls at once"):
        pair(part, server, transport, "caller_hangs_up", "callee_waits", calls=20, talk=1500,
             during=lambda: until("20 calls are up", lambda: sum(c["state"] == "up" for c in server.ask("calls")) == 20))


def tests(part):
    with part.test("sipp: siphook starts", keep=True):
        server = house.Server(part, os.path.join(HERE, "sipp.lua"))
    for transport in ("udp", "tcp"):
        for name, caller, callee in CALLS:
            with part.test(f"sipp, {transport}: {name}"):
                pair(part, server, transport, caller, callee)
        with part.test(f"sipp, {transport}: the dial plan declines"):
            pair(part, server, transport, "caller_declined", dials="900")
        with part.test(f"sipp, {transport}: the dial plan redirects"):
            pair(part, server, transport, "caller_redirected", dials="help")
        with part.test(f"sipp, {transport}: OPTIONS"):
            pair(part, server, transport, "options")
        registers(part, server, transport)
        many(part, server, transport)
    with part.test("sipp: siphook did its work without an error and ends well"):
        status = server.ask("status")
        must(status["calls"] == status["legs"] == status["hooks_running"] == 0, f"nothing is left: {status}")
        must(" error " not in text_of(server.log), text_of(server.log, 20))
        must(server.stop() == 0, "siphook ends with 0")


if __name__ == "__main__":
    house.run(tests)
