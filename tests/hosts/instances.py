"""What the tests of the hand-over share: `siphook run` with the option handover, and what its instances say to each other
(module/engine/handover.h), so that a test can stand in for one."""
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile

import server as _  # a network of its own

sys.argv[1:] = [os.path.dirname(os.path.abspath(sys.argv[1])), os.path.abspath(sys.argv[1])]
command = sys.argv[2]

HELLO, CHALLENGE, PROOF, WELCOME, TAKE = range(5)
DONE = 12
NONCE = 16


class Process:
    count = 0

    def __init__(self, folder, listeners, *options, state=None):
        Process.count += 1
        self.log = os.path.join(folder, f"log{Process.count}")
        self.control = os.path.join(folder, "control")
        where = [w for uri in listeners for w in ("-l", uri)]
        self.p = subprocess.Popen([command, "run", "-s", self.control, *where, "-o", f"handover={state or folder + '/state'}", "-o", "config.callee=bob",
                                   *options, os.path.join(folder, "plan.lua")], stdout=subprocess.DEVNULL, stderr=open(self.log, "w"))

    def logged(self):
        return open(self.log).read()

    def status(self):
        r = subprocess.run([command, "status", "--json", "-s", self.control], capture_output=True, text=True, timeout=20)
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)


def both(port):
    return f"udp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port}"


def listen(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.bind(path)
    s.listen(4)
    s.settimeout(20)
    return s


def connect(folder, name=None):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(os.path.join(folder, name) if name else next(e.path for e in os.scandir(folder) if e.name.isdigit()))
    s.settimeout(20)
    return s


def kind_of(packet):
    return struct.unpack_from("I", packet)[0] if packet else None


def peer_pid(s):
    return struct.unpack("iII", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def sizes():
    """What this build says of itself: version and sizes, of the first HELLO of a process that finds us in its folder."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(folder + "/state", 0o700)
        open(folder + "/plan.lua", "w").close()
        s = listen(folder + "/state/7")
        p = Process(folder, ["udp://127.0.0.1:0"])
        hello = s.accept()[0].recv(1 << 17)
        p.p.kill()
        p.p.wait()
    assert kind_of(hello) == HELLO
    return hello[4:16]


def proof(role, nonces, prover, judge, secret):
    return hashlib.new("sha512_256", role + b"".join(nonces) + struct.pack("II", prover, judge) + secret).digest()


def greet(s, build, secret=b"", epoch=4001):
    """As a process does that knows the secret. What comes back: the WELCOME, or b"" if the other one ended it."""
    mine = os.urandom(NONCE)
    s.send(struct.pack("I", HELLO) + build + struct.pack("I", epoch) + mine)
    challenge = s.recv(1 << 17)
    assert kind_of(challenge) == CHALLENGE, challenge
    nonces = mine, challenge[4:4 + NONCE]
    if secret:
        assert challenge[4 + NONCE:] == proof(b"listens", nonces, peer_pid(s), os.getpid(), secret)
    s.send(struct.pack("I", PROOF) + (proof(b"connects", nonces, os.getpid(), peer_pid(s), secret) if secret else bytes(32)))
    return s.recv(1 << 17)


def take(folder, build):
    """As a process does that takes over from the only one there, up to where it would start."""
    s = connect(folder)
    assert kind_of(greet(s, build)) == WELCOME
    s.send(struct.pack("I", TAKE))
    while kind_of(s.recv(1 << 17)) != DONE:
        pass
    return s
