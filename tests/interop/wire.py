"""A SIP phone in few lines over every transport, for tests that want to see each octet: UDP, TCP, TLS, WS, WSS."""
import base64
import os
import re
import select
import socket
import ssl
import struct
import time

from house import Failure, must

PATIENCE = 10


def message(text, body=""):
    """Lines with their ends, Content-Length and body."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return "\r\n".join(lines + [f"Content-Length: {len(body.encode())}", "", body])


class Link:
    """One connection, or one socket of datagrams. receive() gives whole messages as text."""

    def __init__(self, transport, host, port, ca=None, source=None, version=None, origin=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.transport = transport
        self.host = f"[{host}]" if ":" in host else host
        self.rest = b""
        self.websocket = transport in ("ws", "wss")
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        s = socket.socket(family, kind)
        if source:
            s.bind((source, 0))
        s.settimeout(PATIENCE)
        s.connect((host, port))
        if transport in ("tls", "wss"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if version:
                context.minimum_version = context.maximum_version = version
            context.check_hostname = False
            if ca:
                context.load_verify_locations(ca)
            else:
                context.verify_mode = ssl.CERT_NONE
            s = context.wrap_socket(s, server_hostname="example.org")
        self.socket = s
        self.port = s.getsockname()[1]
        if self.websocket:
            self.upgrade(origin)

    def upgrade(self, origin):
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET / HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n" +
                             (f"Origin: {origin}\r\n" if origin else "") + "\r\n").encode())
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        must(head.startswith(b"HTTP/1.1 101"), f"the upgrade is accepted: {head!r}")

    def more(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise Failure(f"{self.transport}: the connection is closed")
        self.rest += octets

    def send(self, text):
        octets = text.encode()
        if self.websocket:
            mask = os.urandom(4)
            size = len(octets)
            head = b"\x81" + (bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size))
            octets = head + mask + bytes(o ^ mask[i % 4] for i, o in enumerate(octets))
        self.socket.sendall(octets)

    def cut(self):
        """A whole message off what has come, or None."""
        r = self.rest
        if self.transport == "udp":
            self.rest = b""
            return r or None
        if self.websocket:
            if len(r) < 4:
                return None
            size, head = r[1] & 127, 2
            if size == 126:
                size, head = struct.unpack(">H", r[2:4])[0], 4
            if len(r) < head + size:
                return None
            self.rest = r[head + size:]
            return r[head:head + size] if r[0] & 15 in (1, 2) else self.cut()
        r = r.lstrip(b"\r\n")
        if b"\r\n\r\n" not in r:
            return None
        head, body = r.split(b"\r\n\r\n", 1)
        size = int(re.search(rb"(?im)^Content-Length: *(\d+)", head)[1])
        if len(body) < size:
            return None
        self.rest = body[size:]
        return head + b"\r\n\r\n" + body[:size]

    def receive(self, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while True:
            got = self.cut()
            if got:
                return got.decode()
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            self.more()

    def expect(self, start):
        """The next message; it begins like that. Provisional answers and what was said before are passed over."""
        while True:
            got = self.receive()
            if got.startswith(start):
                return got
            must(re.match(r"SIP/2.0 1\d\d", got), f"{self.transport}: {start!r} is expected, and this comes:\n{got}")

    def silent(self):
        return not select.select([self.socket], [], [], 0)[0]

    def close(self):
        self.socket.close()


def header(text, name):
    found = re.search(rf"(?im)^{name}: *(.*?)\r$", text)
    must(found, f"a field {name} in\n{text}")
    return found[1]


SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"


class Phone:
    """What a call test needs of a phone; reached at its connection, or at its socket."""

    def __init__(self, user, transport, host, port, **options):
        self.user = user
        self.link = Link(transport, host, port, **options)
        self.server = f"[{host}]" if ":" in host else host
        self.count = 0
        local = self.link.socket.getsockname()[0]
        self.address = f"{'[' + local + ']' if ':' in local else local}:{self.link.port}"
        if self.link.websocket: # RFC 7118 5: it does not know its address
            self.address = f"{user}.invalid"
        parameter = {"udp": "", "wss": ";transport=ws"}.get(transport, f";transport={transport}")
        self.contact = f"<sip:{user}@{self.address}{parameter}>"

    def request(self, method, uri, to, call, cseq, tag="a", body="", extra=""):
        self.count += 1
        self.link.send(message(f"""{method} {uri} SIP/2.0
            Via: SIP/2.0/{self.link.transport.upper()} {self.address};branch=z9hG4bK{self.user}{call}{cseq}{method}{self.count};rport
            Max-Forwards: 70
            From: <sip:{self.user}@example.org>;tag={tag}
            To: {to}
            Call-ID: {call}
            CSeq: {cseq} {method}
            Contact: {self.contact}""" + extra + ("\nContent-Type: application/sdp" if body else ""), body))

    def answer(self, request, code, tag=None, body=""):
        to = header(request, "To") + (f";tag={tag}" if tag and ";tag=" not in header(request, "To") else "")
        routes = "".join(f"\n{line}" for line in re.findall(r"(?m)^(?:Via|Record-Route): .*?(?=\r$)", request))
        self.link.send(message(f"""SIP/2.0 {code} Whatever{routes}
            From: {header(request, 'From')}
            To: {to}
            Call-ID: {header(request, 'Call-ID')}
            CSeq: {header(request, 'CSeq')}
            Contact: {self.contact}""" + ("\nContent-Type: application/sdp" if body else ""), body))

    def register(self):
        self.request("REGISTER", "sip:example.org", f"<sip:{self.user}@example.org>", f"r-{self.user}-{self.link.port}", 1)
        return self.link.expect("SIP/2.0 200")

    def close(self):
        self.link.close()


def call(caller, callee, name, callee_ends=True, extra=""):
    """Set up, talked, ended by one of the two."""
    caller.request("INVITE", f"sip:{callee.user}@example.org", f"<sip:{callee.user}@example.org>", name, 1, body=SDP, extra=extra)
    invite = callee.link.expect("INVITE")
    must(SDP in invite, "the offer arrives as it was")
    callee.answer(invite, 180, tag="b")
    callee.answer(invite, 200, tag="b", body=SDP)
    ok = caller.link.expect("SIP/2.0 200")
    must(SDP in ok, "the answer arrives as it was")
    remote = re.search(r"<(.*?)>", header(ok, "Contact"))[1]
    caller.request("ACK", remote, header(ok, "To"), name, 1)
    callee.link.expect("ACK")
    if callee_ends:
        target = re.search(r"<(.*?)>", header(invite, "Contact"))[1]
        callee.request("BYE", target, header(invite, "From"), header(invite, "Call-ID"), 1, tag="b")
        bye = caller.link.expect("BYE")
        caller.answer(bye, 200)
        callee.link.expect("SIP/2.0 200")
    else:
        caller.request("BYE", remote, header(ok, "To"), name, 2)
        bye = callee.link.expect("BYE")
        callee.answer(bye, 200)
        caller.link.expect("SIP/2.0 200")
