"""A caller and a phone for the host tests: raw UDP sockets on 127.0.0.1, one call at a time."""
import os
import random
import re
import socket
import subprocess
import time


_given = set()


def free_port():
    """A number that is free for UDP and TCP and was not given before; below those that the kernel itself hands out, so that no connection takes it."""
    for _ in range(1000):
        number = random.randrange(10000, 32768)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            try:
                udp.bind(("127.0.0.1", number))
                tcp.bind(("127.0.0.1", number))
            except OSError:
                continue
        if number not in _given:
            _given.add(number)
            return number
    raise OSError("no port is free")


def field(text, name):
    return re.search(rf"(?im)^{name}:[ ]*(.*?)\r$", text).group(1)


def wait_for(what, seconds, is_so):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "must hold within %g s: %s" % (seconds, what)
        time.sleep(0.02)


class Caller:
    """Both ends of a call through a server. Each step sends or takes exactly one message; retransmissions are passed over.
    turn() is called while it waits: for a server that lives in this process."""

    serial = 0

    def __init__(self, port, turn=lambda: None):
        self.port, self.turn = port, turn
        self.a, self.b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for s in (self.a, self.b):
            s.bind(("127.0.0.1", 0))
            s.settimeout(0.02)
        self.own, self.phone_port = self.a.getsockname()[1], self.b.getsockname()[1]

    def close(self):
        self.a.close()
        self.b.close()

    def send(self, method, cseq, to="", branch=None):
        text = (
            f"{method} sip:test@127.0.0.1:{self.port} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.own};branch=z9hG4bK{self.call}{branch or method}{cseq};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:caller@127.0.0.1>;tag=c{self.call}\r\nTo: <sip:test@127.0.0.1>{to}\r\n"
            f"Call-ID: {self.call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:caller@127.0.0.1:{self.own}>\r\nContent-Length: 0\r\n\r\n"
        )
        self.a.sendto(text.encode(), ("127.0.0.1", self.port))

    def take(self, sock, pattern, seconds=5):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.turn()
            try:
                text, self.peer = sock.recvfrom(65536)
            except OSError:
                continue
            text = text.decode()
            if re.match(pattern, text):
                return text
        raise AssertionError("never came: " + pattern)

    def reply(self, request, code):
        vias = "".join(f"Via: {v}\r\n" for v in re.findall(r"(?im)^Via:[ ]*(.*?)\r$", request))
        to = field(request, "To")
        to = to if ";tag=" in to else to + ";tag=p" + self.call
        self.b.sendto(
            f"SIP/2.0 {code}\r\n{vias}From: {field(request, 'From')}\r\nTo: {to}\r\nCall-ID: {field(request, 'Call-ID')}\r\n"
            f"CSeq: {field(request, 'CSeq')}\r\nContact: <sip:phone@127.0.0.1:{self.phone_port}>\r\nContent-Length: 0\r\n\r\n".encode(),
            self.peer,
        )

    def new(self):
        Caller.serial += 1
        self.call = f"h{self.own}x{Caller.serial}"

    def options(self, seconds=5):
        """The status code of an answer to OPTIONS."""
        deadline = time.monotonic() + seconds
        while True:
            self.new()
            self.send("OPTIONS", 1)
            try:
                return int(self.take(self.a, "SIP/2.0 ", 0.3).split()[1])
            except AssertionError:
                assert time.monotonic() < deadline, "OPTIONS was never answered"

    def invite(self):
        """The final status code of a call that nobody is asked for, such as one that is refused."""
        self.new()
        self.send("INVITE", 1)
        answer = self.take(self.a, "SIP/2.0 [2-6]")
        self.send("ACK", 1, ";tag=" + field(answer, "To").split(";tag=")[1], branch="INVITE")
        return int(answer.split()[1])

    def connect(self):
        self.new()
        self.send("INVITE", 1)
        self.reply(self.take(self.b, "INVITE "), "200 OK")
        answer = self.take(self.a, "SIP/2.0 [2-6]")
        assert answer.startswith("SIP/2.0 200"), answer
        self.to = ";tag=" + field(answer, "To").split(";tag=")[1]
        self.send("ACK", 1, self.to)
        self.take(self.b, "ACK ")

    def hang_up(self):
        self.send("BYE", 2, self.to)
        self.reply(self.take(self.b, "BYE "), "200 OK")
        assert self.take(self.a, "SIP/2.0 [2-6]").startswith("SIP/2.0 200")

    def is_hung_up(self):
        """The server ends the call: both ends get BYE and answer it."""
        bye = self.take(self.b, "BYE ")
        self.reply(bye, "200 OK")
        bye = self.take(self.a, "BYE ")
        self.b, self.a = self.a, self.b
        self.reply(bye, "200 OK")
        self.b, self.a = self.a, self.b


def sipp_call(port, phone_port, folder, hold_ms=0, calls=1, rate=10, user="test"):
    """Whole calls by SIPp to `user` through the server at `port` to a SIPp at phone_port. Returns the two processes; see sipp_passed."""
    quiet = dict(cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    common = ["-i", "127.0.0.1", "-m", str(calls), "-nostdin", "-timeout", "60", "-timeout_error", "-trace_err"]
    phone = subprocess.Popen(["sipp", "-sf", os.path.join(os.path.dirname(os.path.abspath(__file__)), "phone.xml"), "-p", str(phone_port), *common, "-error_file", "phone.err"], **quiet)
    wait_for("the phone listens", 10, lambda: ":%04X " % phone_port in open("/proc/net/udp").read())
    caller = subprocess.Popen(
        ["sipp", "-sn", "uac", f"127.0.0.1:{port}", "-s", user, "-p", str(free_port()), "-d", str(hold_ms), "-r", str(rate), *common,
         "-error_file", "caller.err"], **quiet)
    return caller, phone


def sipp_passed(processes, folder):
    """SIPp ends with 0 when every call went as its scenario says."""
    codes = [p.wait(70) for p in processes]
    if codes != [0, 0]:
        errors = [open(os.path.join(folder, f)).read()[-2000:] for f in ("caller.err", "phone.err") if os.path.exists(os.path.join(folder, f))]
        raise AssertionError("SIPp ended with %s\n%s" % (codes, "\n".join(errors)))
