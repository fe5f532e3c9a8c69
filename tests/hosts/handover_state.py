"""What goes over from one instance to the next, whatever numbers their listeners have, and who may take it: handover_state.py SIPHOOK"""
import os
import re
import select
import signal
import struct
import sys
import tempfile
import threading
import time

from instances import CHALLENGE, HELLO, PROOF, TAKE, WELCOME, Process, both, connect, greet, kind_of, listen, proof, sizes
from nginx_reload import PLAN
from phone import Phone, call, hang_up
from sip import Caller, field, free_port, wait_for

SECRET = "known to those who may"
EVENTS = """
sip.acl{ max_failures = 3, ban_time = 600 }
sip.on.publish(function(req) req:publish{} end)
sip.on.subscribe(function(sub) sub:accept{ serve = sub.event == "presence" } end)
"""
NOTIFIES = 'sip.notify("x-calls", "sip:bob@127.0.0.1", "text/plain", "ended " .. calls:get("begun"))'
processes = []


def start(folder, listeners, *options):
    processes.append(Process(folder, listeners, *options))
    return processes[-1]


def succeed(folder, listeners, *options):
    p = start(folder, listeners, *options)
    wait_for("it takes over", 30, lambda: "taken over from epoch" in p.logged())
    return p


def end(*those):
    for p in those:
        p.p.send_signal(signal.SIGTERM)
    for p in those:
        assert p.p.wait(60) == 0, p.logged()


def silent(phone, seconds=0.7):
    return phone.read(seconds) is None


def subscribe(phone, event):
    """The body of the first NOTIFY."""
    phone.request("SUBSCRIBE", f"sip:bob@127.0.0.1:{phone.port}", f"Event: {event}\r\nExpires: 600\r\nContact: {phone.contact}\r\n", f"sub{os.urandom(4).hex()}")
    phone.take("SIP/2.0 200")
    return notified(phone)


def notified(phone):
    notify = phone.take("NOTIFY ")
    phone.reply(notify, "200 OK")
    return notify.split("\r\n\r\n", 1)[1]


def bye_of_callee(phone, invite):
    """In the dialog of an INVITE that the phone has answered."""
    phone.cseq += 1
    uri = re.search("<(.*?)>", field(invite, "Contact"))[1]
    phone.s.send((f"BYE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{phone.own};branch=z9hG4bKq{phone.own}x{phone.cseq};rport\r\nMax-Forwards: 70\r\n"
                  f"From: {field(invite, 'To')};tag=p{phone.own}\r\nTo: {field(invite, 'From')}\r\nCall-ID: {field(invite, 'Call-ID')}\r\n"
                  f"CSeq: {phone.cseq} BYE\r\nContent-Length: 0\r\n\r\n").encode())
    return phone.take("SIP/2.0 [2-6]")


def call_and_keep(caller, phone):
    """As call(); the INVITE that the phone got."""
    caller.new()
    caller.send("INVITE", 1)
    invite = phone.take("INVITE ")
    phone.reply(invite, "200 OK")
    caller.to = ";tag=" + field(caller.take(caller.a, "SIP/2.0 200"), "To").split(";tag=")[1]
    caller.send("ACK", 1, caller.to)
    phone.take("ACK ")
    return invite


def hung_up_by_callee(caller, phone, invite):
    assert bye_of_callee(phone, invite).startswith("SIP/2.0 200")
    bye = caller.take(caller.a, "BYE ")
    caller.a.sendto(("SIP/2.0 200 OK\r\n" + "".join(f"{n}: {field(bye, n)}\r\n" for n in ("Via", "From", "To", "Call-ID", "CSeq")) +
                     "Content-Length: 0\r\n\r\n").encode(), ("127.0.0.1", caller.port))


def listeners_have_other_numbers(folder):
    """Reordered, one added, one removed: a phone is called from the address that it knows, and answered from the one it has asked."""
    a, b, c = free_port(), free_port(), free_port()
    first = start(folder, [*both(a), f"udp://127.0.0.1:{b}"])
    caller = Caller(a)
    assert caller.options(20) == 200
    bob = Phone(b, "bob")  # hears nothing but what comes from b
    bob.register()
    begun = call_and_keep(caller, bob)
    second = succeed(folder, [f"udp://127.0.0.1:{c}", f"udp://127.0.0.1:{b}", f"tcp://127.0.0.1:{a}", f"udp://127.0.0.1:{a}"])
    assert Caller(c).options() == 200 and not bob.register()
    other = Caller(a)
    kept = call_and_keep(other, bob)
    hung_up_by_callee(caller, bob, begun)
    # One that is given up is left to the process that has calls on it.
    third = succeed(folder, both(a))
    assert Caller(a).options() == 200
    hung_up_by_callee(other, bob, kept)
    bob.request("OPTIONS", f"sip:127.0.0.1:{b}", "", "given-up")
    assert silent(bob)
    third.status()
    end(first, second, third)


def guesses(attacker):
    attacker.password = "guess"
    uri = f"sip:127.0.0.1:{attacker.port}"
    attacker.request("REGISTER", uri, f"Contact: {attacker.contact}\r\n", "guess")
    attacker.nonce, attacker.nc = re.search(r'nonce="([^"]+)", algorithm=SHA-256', attacker.take("SIP/2.0 401"))[1], 1
    for i in range(3):
        attacker.request("REGISTER", uri, f"Contact: {attacker.contact}\r\n" + attacker.credentials("REGISTER", uri), "guess")
        assert attacker.take("SIP/2.0 [2-6]")[8:11] in ("401", "403")


def shut_out(attacker):
    attacker.request("REGISTER", f"sip:127.0.0.1:{attacker.port}", f"Contact: {attacker.contact}\r\n", "again")
    return silent(attacker)


def bans_and_events_go_over(folder):
    """Whoever is shut out stays so; what was published and what the dial plan said is known to the next one, which hears of more."""
    port = free_port()
    first = start(folder, both(port), "-w", "2")
    caller, bob, watcher = Caller(port), Phone(port, "bob"), Phone(port, "watcher")
    assert caller.options(20) == 200
    bob.register()
    call(caller, bob)
    hang_up(caller, bob)
    call(caller, bob)
    attacker = Phone(port, "bob", host="127.0.0.2")
    guesses(attacker)
    assert any(shut_out(attacker) for _ in range(5))  # the other worker may hear of it a moment later
    document = "<presence>busy</presence>"
    bob.request("PUBLISH", f"sip:bob@127.0.0.1:{port}", "Event: presence\r\nExpires: 600\r\nContent-Type: application/pidf+xml\r\n", "publish", document)
    tag = field(bob.take("SIP/2.0 200"), "SIP-ETag")
    second = succeed(folder, both(port), "-w", "3")
    assert shut_out(attacker) and Caller(port).options() == 200
    for _ in range(4):  # on whatever worker
        assert subscribe(watcher, "presence") == document
        assert subscribe(watcher, "x-calls") == "ended 1"
    hang_up(caller, bob)  # at the first one, whose dial plan speaks to the subscribers of the second one
    for _ in range(4):
        assert notified(watcher) == "ended 2"
    bob.request("PUBLISH", f"sip:bob@127.0.0.1:{port}", f"Event: presence\r\nSIP-If-Match: {tag}\r\nExpires: 0\r\n", "publish")
    bob.take("SIP/2.0 200")
    end(first, second)


def passes_on(fake, real, refused):
    """Between two that know the secret: what one says, the other one hears."""
    one = fake.accept()[0]
    one.settimeout(20)
    while True:
        for s in select.select([one, real], [], [], 20)[0]:
            packet = s.recv(1 << 17)
            if kind_of(packet) in (PROOF, WELCOME, TAKE):
                refused.append(kind_of(packet))
            if not packet:
                one.close()
                return
            (real if s is one else one).send(packet)


def only_who_knows_the_secret(folder):
    port, state, build = free_port(), folder + "/state", sizes()
    option = ("-o", f"handover_secret={SECRET}")
    first = start(folder, both(port), *option)
    caller = Caller(port)
    assert caller.options(20) == 200
    name = next(e for e in os.listdir(state) if e.isdigit())
    # Of the same user: without the secret, with another one, without a greeting; none is told anything.
    assert greet(connect(state, name), build) == b""
    stranger = connect(state, name)
    stranger.send(struct.pack("I", HELLO) + build + struct.pack("I", 4001) + bytes(16))
    challenge = stranger.recv(1 << 17)
    assert kind_of(challenge) == CHALLENGE
    stranger.send(struct.pack("I", PROOF) + proof(b"connects", (bytes(16), challenge[4:20]), os.getpid(), first.p.pid, b"another secret....."))
    assert stranger.recv(1 << 17) == b""
    for packet in (struct.pack("I", TAKE), struct.pack("I", HELLO), b"x", struct.pack("I", 99) + bytes(70000)):
        stranger = connect(state, name)
        stranger.send(packet)
        assert stranger.recv(1 << 17) == b"", packet
    assert "does not know the secret" in first.logged()
    # Who says what the other one has said proves nothing.
    stranger = connect(state, name)
    stranger.send(struct.pack("I", HELLO) + build + struct.pack("I", 4001) + bytes(16))
    challenge = stranger.recv(1 << 17)
    stranger.send(struct.pack("I", PROOF) + challenge[20:])
    assert stranger.recv(1 << 17) == b""
    # Connections that say nothing take no place from anybody; and who knows it is welcome.
    idle = [connect(state, name) for _ in range(100)]
    friend = connect(state, name)
    assert kind_of(greet(friend, build, SECRET.encode())) == WELCOME
    friend.close()
    wait_for("those that say nothing are few", 10, lambda: sum(bool(select.select([s], [], [], 0)[0]) for s in idle) >= 84)
    for s in idle:
        s.close()
    # A process of another secret does not start in the first one's place.
    other = start(folder, both(port), "-o", "handover_secret=of somebody else.....")
    assert other.p.wait(30) == 1 and "does not know the secret" in other.logged(), other.logged()
    assert caller.options() == 200 and not first.status()["succeeded"]
    # Somebody in the middle, in front of the real one; then the real one alone.
    fake, refused = listen(state + "/4000"), []
    os.chmod(state + "/4000", 0o600)
    between = threading.Thread(target=passes_on, args=(fake, connect(state, name), refused))
    between.start()
    second = succeed(folder, both(port), *option)
    between.join()
    assert "process 4000 does not know the secret" in second.logged() and WELCOME not in refused and TAKE not in refused, (second.logged(), refused)
    assert caller.options() == 200 and SECRET not in first.logged() + second.logged()
    short = start(folder, both(port), "-o", "handover_secret=short")
    assert short.p.wait(30) == 1 and "handover_secret" in short.logged() and '"short"' not in short.logged(), short.logged()
    end(first, second)


def too_few_descriptors(folder):
    """A process that may not open as many as it is to get does not start with a part of them; the other one goes on."""
    port = free_port()
    first = start(folder, [*both(port), *(f"tcp://127.0.0.1:{free_port()}" for _ in range(40))])
    caller = Caller(port)
    assert caller.options(20) == 200
    import resource
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, most[1]))
    try:
        second = start(folder, both(port))
        assert second.p.wait(30) == 1 and re.search("gives more sockets|Too many open files", second.logged()), second.logged()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert caller.options() == 200 and not first.status()["succeeded"]
    end(first)


for what in (listeners_have_other_numbers, bans_and_events_go_over, only_who_knows_the_secret, too_few_descriptors):
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "plan.lua"), "w") as f:
            f.write(PLAN.replace('calls:incr("live", -1)', 'calls:incr("live", -1)\n\t' + NOTIFIES) + EVENTS)
        try:
            what(folder)
            for p in processes:
                assert "Sanitizer" not in p.logged(), p.logged()
        except BaseException:
            for p in processes:
                p.p.kill()
                print(p.logged()[-6000:], file=sys.stderr)
            raise
        processes.clear()
    print(f"{what.__name__}: {time.monotonic() - began:.1f} s")
