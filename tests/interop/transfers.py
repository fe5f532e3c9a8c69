"""Three baresip phones on real sockets: hold, blind transfer, attended transfer (REFER with Replaces); who is left talks, and RTP is
counted at both ends. Only what a phone with buttons would do is done: hold, transfer, dial."""
import os
import re
import urllib.parse

import house
from house import HERE, must, text_of, until
from phones import TALK, Phone


def registered(part, server):
    phones = [Phone(part, server, "udp", user, password, answer)
              for user, password, answer in (("alice", "wonder", "manual"), ("bob", "builder", "auto"), ("carol", "singer", "auto"))]
    until("all three are registered", lambda: len(server.ask("registrations")) == 3)
    return phones


def begin(server, caller, callee):
    caller.tell("dial", caller.uri(server, callee.user))
    for phone in (caller, callee):
        phone.expect("CALL_ESTABLISHED")


def talked(server, phones, ends):
    """They talk for a while, one hangs up, both have counted RTP of the last call."""
    before = [len(p.packets()) for p in phones]
    end = house.time.monotonic() + TALK
    until("they have talked", lambda: house.time.monotonic() > end)
    must([c["state"] for c in server.ask("calls")] == ["up"], f"one call is up: {server.ask('calls')}")
    ends.tell("hangup")
    for phone, count in zip(phones, before):
        phone.expect("CALL_CLOSED")
        until(f"{phone.user} has counted", lambda: len(phone.packets()) > count)
        sent, received = phone.packets()[-1]
        must(sent >= 40 * TALK and received >= 40 * TALK, f"{phone.user} sent {sent} and received {received} packets of RTP")
        print(f"# {phone.user} sent {sent} and received {received} packets of RTP")
    until("no call is left", server.idle)


def dialog_of(server, callee, leg):
    """What Replaces says of a leg, from the log of the dial plan; the latest call to that phone."""
    found = re.findall(rf"dialog {leg} of {callee}: (\S+)\.$", text_of(server.log), re.M)
    must(found, f"the dialog {leg} of the call to {callee} is in the log")
    return found[-1]


def tests(part):
    with open(os.path.join(HERE, "transfers.lua")) as f:
        script = part.file("transfers.lua", f.read())
    with part.test("three phones register", keep=True):
        server = house.Server(part, script)
        alice, bob, carol = registered(part, server)

    with part.test("RFC 5359 2.1: hold and retrieval"):
        begin(server, alice, bob)
        bob.tell("hold")
        until("alice is held", lambda: server.says("re-INVITE: sendonly") or server.says("re-INVITE: inactive"))
        bob.tell("resume")
        until("alice is retrieved", lambda: server.says("re-INVITE: sendrecv"))
        talked(server, (alice, bob), ends=alice)

    with part.test("RFC 5359 2.4, RFC 5589 6.2: blind transfer of the caller by the callee"):
        begin(server, alice, bob)
        bob.tell("hold")
        bob.tell("transfer", f"sip:carol@{house.HOST}:{server.port}")
        carol.expect("CALL_ESTABLISHED")
        bob.expect("CALL_CLOSED")
        until("the script says so", lambda: server.says("blind transfer to carol: done"))
        talked(server, (alice, carol), ends=carol)

    with part.test("a blind transfer to nobody: the phone is told, and hangs up by itself, as baresip does then"):
        begin(server, alice, bob)
        bob.tell("transfer", f"sip:dave@{house.HOST}:{server.port}")
        until("it failed", lambda: server.says("blind transfer to dave: 480"))
        alice.expect("CALL_CLOSED")
        until("no call is left", server.idle)

    with part.test("RFC 5359 2.5, RFC 5589 7.3: attended transfer"):
        begin(server, alice, bob)
        bob.tell("hold")
        begin(server, bob, carol)
        first = urllib.parse.quote(dialog_of(server, "bob", "b"), safe="")
        bob.tell("transfer", f"<sip:alice@{house.HOST}:{server.port}?Replaces={first}>")
        until("the script says so", lambda: server.says("attended transfer to alice: done"))
        bob.expect("CALL_CLOSED")
        bob.expect("CALL_CLOSED")
        talked(server, (carol, alice), ends=carol)

    with part.test("the phones leave"):
        for phone in (alice, bob, carol):
            phone.leaves()
        must(server.stop() == 0, "siphook ends with 0")
    part.end()


if __name__ == "__main__":
    house.run(tests)
