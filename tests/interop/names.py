"""Calls to domains: a name server of our own, siphook's c-ares in between, SIPp behind the SRV records; and IPv6."""
import os
import re
import socket
import struct
import threading

import house
import sipp
from house import HERE, HOST, must, text_of, until

A, SRV, NAPTR, SOA = 1, 33, 35, 6


def encoded(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def string(text):
    return bytes([len(text)]) + text.encode()


def a(address):
    return A, socket.inet_aton(address)


def srv(priority, weight, port, target):
    return SRV, struct.pack(">HHH", priority, weight, port) + encoded(target)


def naptr(order, preference, service, replacement):
    return NAPTR, struct.pack(">HH", order, preference) + string("s") + string(service) + string("") + encoded(replacement)


class NameServer(threading.Thread):
    """Answers for what is in `zone` (name -> records), "no such name" for the rest; `asked` counts by name and type."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))
        self.address = f"{HOST}:{self.socket.getsockname()[1]}"
        self.zone = {}
        self.asked = {}
        self.start()

    def run(self):
        while True:
            question, peer = self.socket.recvfrom(4096)
            at, labels = 12, []
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode())
                at += 1 + question[at]
            kind = struct.unpack(">H", question[at + 1 : at + 3])[0]
            name = ".".join(labels).lower()
            self.asked[name, kind] = self.asked.get((name, kind), 0) + 1
            answers = [data for k, data in self.zone.get(name, []) if k == kind]
            soa = b"" if answers else b"\xc0\x0c" + struct.pack(">HHIH", SOA, 1, 60, 22) + b"\0\0" + struct.pack(">5I", 1, 1, 1, 1, 60)
            head = question[:2] + struct.pack(">HHHHH", 0x8180 if answers or name in self.zone else 0x8183, 1, len(answers), bool(soa), 0)
            body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for data in answers)
            self.socket.sendto(head + question[12 : at + 5] + body + soa, peer)


def took(server, dialled):
    """Seconds that the plan's fork took for the latest call to this user."""
    line = re.findall(rf"{dialled}: 200 after ([0-9.]+) s", text_of(server.log, 1000))
    must(line, f"{dialled} was answered")
    return float(line[-1])


def call(part, server, dialled):
    sipp.Sipp(part, "caller_hangs_up", "udp", 1, server, dialled).succeeds(12)
    until("no call is left", server.idle)


def fails_over(part, server, names, transport):
    callee = sipp.Sipp(part, "callee_named", transport)
    domain = f"dead{transport}"
    names.zone |= {
        f"_sip._{transport}.{domain}.example.test": [srv(10, 0, house.port(), "one.example.test"), srv(20, 0, callee.port, "one.example.test")],
        "one.example.test": [a(HOST)],
    }
    call(part, server, f"{domain}-{transport}")
    callee.succeeds(5)
    seconds = took(server, f"{domain}-{transport}")
    must(seconds < 1, f"the second server is reached within a second of the refusal: {seconds} s with the answer")


def by_naptr(part, server, names):
    callee = sipp.Sipp(part, "callee_named", "tcp", calls=2)
    names.zone |= {
        "naptr.example.test": [naptr(20, 1, "SIP+D2U", "_u.naptr.example.test"), naptr(10, 1, "SIP+D2T", "_t.naptr.example.test")],
        "_t.naptr.example.test": [srv(1, 1, callee.port, "one.example.test")],
        "one.example.test": [a(HOST)],
    }
    call(part, server, "naptr-any")
    must(("_t.naptr.example.test", SRV) in names.asked, "the SRV record that NAPTR named was asked for")
    before = sum(names.asked.values())
    call(part, server, "naptr-any")
    callee.succeeds(5)
    must(sum(names.asked.values()) == before, "what is known is not asked for again")


class Six(sipp.Sipp):
    host = "::1"


def over_ipv6(part, script):
    number = house.port()
    server = house.Server(part, script, f"listen=udp://[::1]:{number}", f"listen=tcp://[::1]:{number}")
    server.port6 = number
    for transport in ("udp", "tcp"):
        callee = Six(part, "callee_named", transport)
        caller = Six(part, "caller_hangs_up", transport, 1, server, f"v6-{callee.port}-{transport}")
        caller.succeeds(10)
        callee.succeeds(5)
        until("no call is left", server.idle)


def tests(part):
    names = NameServer()
    script = os.path.join(HERE, "names.lua")
    with part.test("names: siphook starts with a name server of its own", keep=True):
        server = house.Server(part, script, "dns=" + names.address)
    for transport in ("udp", "tcp"):
        with part.test(f"names: an SRV target whose first server refuses is called at the second within a second, {transport}"):
            fails_over(part, server, names, transport)
    with part.test("names: NAPTR chooses the transport, and the cache is used"):
        by_naptr(part, server, names)
    with part.test("names: calls over IPv6, UDP and TCP"):
        over_ipv6(part, script)
    with part.test("names: siphook did its work without an error and ends well"):
        must(" error " not in text_of(server.log), text_of(server.log, 20))
        must(server.stop() == 0, "siphook ends with 0")


if __name__ == "__main__":
    house.run(tests)
