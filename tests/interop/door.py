"""SIPVicious against the door: a scan, a hunt for extensions, a hunt for passwords; and an honest phone beside them."""
import hashlib
import os
import re
import socket
import subprocess

import house
from house import HERE, HOST, must, until


def attack(part, name, *command, seconds=25):
    """What it says. It is stopped when the time is over: it has no answer then, which is as good."""
    log = part.file(name + ".log")
    with open(log, "w") as out:
        try:
            subprocess.run(command, cwd=part.folder, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=seconds,
                           env={**os.environ, "HOME": part.folder, "PYTHONUNBUFFERED": "1"}, check=False)
        except subprocess.TimeoutExpired:
            pass
    return house.text_of(log, 200)


def register(server, password, source=HOST):
    """The status of a REGISTER of extension 100 with this password, or None without an answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((source, 0))
        s.settimeout(1)
        own = "%s:%d" % s.getsockname()

        def put(serial, extra=""):
            s.sendto((f"REGISTER sip:{HOST}:{server.port} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{serial}{own[-5:]};rport\r\nMax-Forwards: 70\r\n"
                      f"From: <sip:100@{HOST}>;tag=1\r\nTo: <sip:100@{HOST}>\r\nCall-ID: {own}\r\nCSeq: {serial} REGISTER\r\n"
                      f"Contact: <sip:100@{own}>\r\n{extra}Content-Length: 0\r\n\r\n").encode(), (HOST, server.port))
            return s.recv(65536).decode()

        def digest(text):
            return hashlib.md5(text.encode()).hexdigest()

        try:
            answer = put(1)
            nonce = re.search(r'nonce="([^"]+)"', answer)
            if nonce:
                uri = f"sip:{HOST}:{server.port}"
                proof = digest(":".join([digest(f"100:example.org:{password}"), nonce[1], "00000001", "c", "auth", digest("REGISTER:" + uri)]))
                answer = put(2, f'Authorization: Digest username="100", realm="example.org", nonce="{nonce[1]}", uri="{uri}", response="{proof}", '
                                f'qop=auth, nc=00000001, cnonce="c", algorithm=MD5\r\n')
        except TimeoutError:
            return None
        return int(answer.split()[1])


def flood(server, count, source):
    """The status codes that so many REGISTERs at once get."""
    codes = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((source, 0))
        s.settimeout(0.5)
        own = "%s:%d" % s.getsockname()
        for i in range(count):
            s.sendto((f"REGISTER sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKf{i};rport\r\nMax-Forwards: 70\r\nFrom: <sip:{i}@{HOST}>;tag=1\r\n"
                      f"To: <sip:{i}@{HOST}>\r\nCall-ID: f{i}@{own}\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n").encode(), (HOST, server.port))
        try:
            while True:
                codes.append(int(s.recv(65536).split()[1]))
        except TimeoutError:
            return codes


def tests(part):
    with part.test("door: siphook starts and takes an honest phone in", keep=True):
        server = house.Server(part, os.path.join(HERE, "door.lua"))
        must(register(server, "s3cret") == 200, "the right password registers")
    with part.test("door: a scan with svmap finds no more than a server, at the rate that is allowed"):
        attack(part, "svmap", "svmap", "-p", str(server.port), "-m", "OPTIONS", HOST, seconds=8)
        must(server.running and server.ask("status")["malformed"] == 0, "nothing of it is trouble")
    with part.test("door: svwar learns nothing of the extensions: one that exists looks like one that does not"):
        said = attack(part, "svwar", "svwar", "-p", str(server.port), "-m", "REGISTER", "-e", "100-130", "--force", HOST, seconds=10)
        must("found nothing" in said, f"nothing is found: {said}")
    with part.test("door: a flood is told to come again, and then nothing; others are not hurt"):
        codes = flood(server, 400, "127.0.0.3")
        must(20 <= codes.count(401) <= 80, f"what the rate allows is answered: {codes.count(401)}")
        must(1 <= codes.count(503) <= 80, f"some are told: {codes.count(503)}")
        must(server.ask("status")["refused_by_rate"] > 200, "the rest is counted")
        must(register(server, "s3cret") == 200, "an honest phone goes on")
    with part.test("door: svcrack's hunt for a password is shut out, and comes to nothing"):
        until("the source may ask again", lambda: register(server, "s3cret") == 200)
        part.file("words", "\n".join(f"word{i}" for i in range(300)) + "\ns3cret\n")
        said = attack(part, "svcrack", "svcrack", "-p", str(server.port), "-u", "100", "-d", part.file("words"), HOST, seconds=8)
        must(server.says("is shut out for 3 s"), "the log says who is shut out")
        must("s3cret" not in said, f"the password is not found: {said}")
        must(register(server, "s3cret", "127.0.0.2") == 200, "another source is not hurt")
    with part.test("door: who was shut out may come back, and siphook ends well"):
        until("the ban is over", lambda: register(server, "s3cret") == 200, 20)
        must(server.ask("status")["bans"] >= 1, "bans are counted")
        must(server.stop() == 0, "siphook ends with 0")


if __name__ == "__main__":
    house.run(tests)
