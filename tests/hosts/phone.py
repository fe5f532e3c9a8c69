"""A phone for the host tests, which registers with digest, and calls to it from a Caller (sip.py)."""
import hashlib
import re
import socket
import time

from sip import field


class Phone:
    """Registers with digest, by UDP or TCP, and takes calls."""

    realm, algorithm, digest = "hosts", "SHA-256", hashlib.sha256

    def __init__(self, port, user, kind=socket.SOCK_DGRAM, host="127.0.0.1"):
        self.port, self.user, self.tcp, self.password = port, user, kind == socket.SOCK_STREAM, "secret"
        self.s = socket.socket(socket.AF_INET, kind)
        self.s.bind((host, 0))
        self.s.connect(("127.0.0.1", port))
        self.own, self.cseq, self.nc, self.rest = self.s.getsockname()[1], 0, 0, b""
        self.contact = f"<sip:{user}@127.0.0.1:{self.own}{';transport=tcp' if self.tcp else ''}>"

    def take(self, pattern, seconds=10):
        deadline = time.monotonic() + seconds
        while True:
            text = self.read(deadline - time.monotonic())
            assert text, "never came: " + pattern
            if re.match(pattern, text):
                return text

    def read(self, seconds):
        """One message; None: the connection has ended, or time is over."""
        self.s.settimeout(max(seconds, 0.001))
        while not self.tcp or b"\r\n\r\n" not in self.rest:
            try:
                got = self.s.recv(65536)
            except OSError:
                return None
            if not got or not self.tcp:
                return got.decode() or None
            self.rest += got
        end = self.rest.index(b"\r\n\r\n") + 4
        end += int(field(self.rest[:end].decode(), "Content-Length"))
        text, self.rest = self.rest[:end].decode(), self.rest[end:]
        return text

    def request(self, method, uri, headers, call_id, body=""):
        self.cseq += 1
        via = f"SIP/2.0/{'TCP' if self.tcp else 'UDP'} 127.0.0.1:{self.own};branch=z9hG4bKp{self.own}x{self.cseq};rport"
        who = f"<sip:{self.user}@127.0.0.1:{self.port}>"
        self.s.send((f"{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {who};tag=p{self.own}\r\nTo: {who}\r\nCall-ID: {call_id}\r\n"
                     f"CSeq: {self.cseq} {method}\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}").encode())

    def credentials(self, method, uri):
        def h(*parts):
            return type(self).digest(":".join(parts).encode()).hexdigest()

        count = "%08x" % self.nc
        self.nc += 1
        answer = h(h(self.user, self.realm, self.password), self.nonce, count, "cn", "auth", h(method, uri))
        return (f'Authorization: Digest username="{self.user}", realm="{self.realm}", nonce="{self.nonce}", uri="{uri}", algorithm={self.algorithm}, '
                f'qop=auth, nc={count}, cnonce="cn", response="{answer}"\r\n')

    def register(self, expires=600):
        """Whether a challenge was needed."""
        uri = f"sip:127.0.0.1:{self.port}"
        for challenged in (False, True):
            known = self.credentials("REGISTER", uri) if self.nc else ""
            self.request("REGISTER", uri, f"Contact: {self.contact}\r\nExpires: {expires}\r\n{known}", f"reg{self.own}")
            answer = self.take("SIP/2.0 [2-6]")
            if not answer.startswith("SIP/2.0 401"):
                assert answer.startswith("SIP/2.0 200"), answer
                return challenged
            self.nonce, self.nc = re.search(rf'nonce="([^"]+)", algorithm={self.algorithm}', answer).group(1), 1
        raise AssertionError(answer)

    def reply(self, request, code):
        vias = "".join(f"Via: {v}\r\n" for v in re.findall(r"(?im)^Via:[ ]*(.*?)\r$", request))
        to = field(request, "To")
        to = to if ";tag=" in to else to + f";tag=p{self.own}"
        self.s.send((f"SIP/2.0 {code}\r\n{vias}From: {field(request, 'From')}\r\nTo: {to}\r\nCall-ID: {field(request, 'Call-ID')}\r\n"
                     f"CSeq: {field(request, 'CSeq')}\r\nContact: {self.contact}\r\nContent-Length: 0\r\n\r\n").encode())


def call(caller, phone):
    """From a Caller to a Phone, up to the ACK."""
    caller.new()
    caller.send("INVITE", 1)
    phone.reply(phone.take("INVITE "), "200 OK")
    answer = caller.take(caller.a, "SIP/2.0 [2-6]")
    assert answer.startswith("SIP/2.0 200"), answer
    caller.to = ";tag=" + field(answer, "To").split(";tag=")[1]
    caller.send("ACK", 1, caller.to)
    phone.take("ACK ")


def hang_up(caller, phone):
    caller.send("BYE", 2, caller.to)
    phone.reply(phone.take("BYE "), "200 OK")
    assert caller.take(caller.a, "SIP/2.0 [2-6]").startswith("SIP/2.0 200")
