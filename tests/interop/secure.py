"""TLS and WebSocket against what the world does to them: old versions, strangers, slow and silent peers, thousands of connections,
certificates that change or are of no use."""
import os
import re
import resource
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time

import house
from house import HOST, must, until
from wire import SDP, Link, Phone, call, message, header

IDLE = int(os.environ.get("IDLE", 5000))
RELOADS = int(os.environ.get("RELOADS", 100)) # make soak: 10,000

PLAN = """
local sip = require "siphook"
sip.domains { "example.org" }
sip.on.register(function(req) req:register {} end)
sip.on.invite(function(call)
  local leg, res = call:fork(call["X-Target"], { timeout = 5 })
  if not leg then return call:reject(res.code, res.cause) end
  call:bridge(leg)
end)
sip.on.message(function(req)
  local tls = req.source.tls
  req:reply(200, nil, { headers = { ["X-Names"] = tls and "<" .. table.concat(tls, ",") .. ">" or "no TLS" } })
end)
"""


def openssl(*args, **options):
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, timeout=30, **options)
    must(done.returncode == 0, f"openssl {' '.join(args)}: {done.stderr}")


class Authority:
    """Signs certificates; each comes in one file with its key."""

    def __init__(self, part, name="ca"):
        self.part = part
        self.cert = house.certificate(part, name)
        self.name = name

    def sign(self, name, names, days=30):
        path = self.part.file(f"{name}.pem")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", path + ".key",
                "-out", path + ".csr")
        self.part.file(f"{name}.ext", f"subjectAltName={names}\n")
        openssl("x509", "-req", "-in", path + ".csr", "-CA", self.cert, "-CAkey", self.cert + ".key", "-CAcreateserial", "-extfile",
                self.part.file(f"{name}.ext"), "-out", path, "-days", str(days))
        with open(path, "a") as f, open(path + ".key") as key:
            f.write(key.read())
        return path


def options(link, name, expect="SIP/2.0 200"):
    link.send(message(f"""OPTIONS sip:example.org SIP/2.0
        Via: SIP/2.0/{link.transport.upper()} x.invalid;branch=z9hG4bK{name};rport
        Max-Forwards: 70
        From: <sip:a@example.org>;tag=a
        To: <sip:example.org>
        Call-ID: {name}
        CSeq: 1 OPTIONS"""))
    return link.expect(expect)


def names_of(link, name):
    """Whom the script sees at the other end."""
    link.send(message(f"""MESSAGE sip:example.org SIP/2.0
        Via: SIP/2.0/{link.transport.upper()} x.invalid;branch=z9hG4bK{name};rport
        Max-Forwards: 70
        From: <sip:a@example.org>;tag=a
        To: <sip:example.org>
        Call-ID: {name}
        CSeq: 1 MESSAGE"""))
    return header(link.expect("SIP/2.0 200"), "X-Names")


def closed_within(s, low, high):
    began = time.monotonic()
    s.settimeout(high + 1)
    try:
        while s.recv(4096):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        must(False, f"the connection is closed within {high} s")
    took = time.monotonic() - began
    must(low <= took <= high, f"the connection is closed after {low} to {high} s: {took:.1f}")


def heard(stream, enough):
    """What a program says, until that is enough."""
    said = ""
    end = time.monotonic() + house.PATIENCE
    while not enough(said) and time.monotonic() < end:
        if select.select([stream], [], [], 0.1)[0]:
            piece = os.read(stream.fileno(), 65536).decode(errors="replace")
            if not piece:
                break
            said += piece
    return said


def versions(part, server, ca):
    with part.test("TLS 1.2 and 1.3 are spoken, and nothing older"):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            link = Link("tls", HOST, server.tls_port, ca=ca.cert, version=version)
            options(link, f"v{version.value}")
            link.close()
        done = subprocess.run(["openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect", f"{HOST}:{server.tls_port}"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
        must("alert protocol version" in done.stderr, f"TLS 1.1 gets an alert: {done.stderr}")
    with part.test("openssl s_client verifies the server, talks SIP, and resumes its session"):
        session = part.file("session")
        text = message("""OPTIONS sip:example.org SIP/2.0
            Via: SIP/2.0/TLS x.invalid;branch=z9hG4bKs
            Max-Forwards: 70
            From: <sip:a@example.org>;tag=a
            To: <sip:example.org>
            Call-ID: s_client
            CSeq: 1 OPTIONS""")
        for flags in (["-sess_out", session], ["-sess_in", session]):
            client = subprocess.Popen(["openssl", "s_client", "-connect", f"{HOST}:{server.tls_port}", "-CAfile", ca.cert, "-verify_return_error",
                                       "-verify_hostname", "example.org", "-ign_eof", *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            client.stdin.write(text)
            client.stdin.flush()
            said = heard(client.stdout, lambda t: "SIP/2.0 200 OK" in t and "Verify return code" in t and t.rstrip().endswith("Content-Length: 0"))
            client.kill()
            said += client.stdout.read()
            must("SIP/2.0 200 OK" in said and "Verify return code: 0 (ok)" in said, f"s_client is content:\n{said}")
        must("Reused, TLSv1.3" in said, f"the session is resumed:\n{said}")


def slow(part, server):
    with part.test("who dribbles through a handshake, an upgrade or a message is cut off; others notice nothing"):
        hello = socket.create_connection((HOST, server.tls_port))
        upgrade = socket.create_connection((HOST, server.port))
        part_of = Link("tls", HOST, server.tls_port)
        running = True

        def dribble(s, octets, pause):
            for octet in octets:
                if not running:
                    return
                try:
                    s.sendall(bytes([octet]))
                except OSError:
                    return
                time.sleep(pause)
        slow_ones = [(hello, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)), (upgrade, b"GET /" + b"x" * 100),
                     (part_of.socket, b"OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/TLS " + b"x" * 100)]
        threads = [threading.Thread(target=dribble, args=(s, o, 0.5)) for s, o in slow_ones]
        began = time.monotonic()
        for t in threads:
            t.start()
        link = Link("tls", HOST, server.tls_port)
        worst = 0
        for i in range(20):
            at = time.monotonic()
            options(link, f"meanwhile{i}")
            worst = max(worst, time.monotonic() - at)
            time.sleep(0.05)
        must(worst < 2, f"others are answered at once: {worst:.3f} s")
        spent = time.monotonic() - began
        closed_within(hello, max(0, 4 - spent), 10)
        closed_within(upgrade, 0, 10)
        closed_within(part_of.socket, 0, 14)
        running = False
        for t in threads:
            t.join()
    with part.test("who does not read is closed, and costs no more than its limit"):
        deaf = Link("tls", HOST, server.tls_port)
        before = memory(server)
        text = message("""OPTIONS sip:example.org SIP/2.0
            Via: SIP/2.0/TLS x.invalid;branch=z9hG4bKdeaf%d
            Max-Forwards: 70
            From: <sip:a@example.org>;tag=a
            To: <sip:example.org>
            Call-ID: deaf%d
            CSeq: 1 OPTIONS""")
        deaf.socket.settimeout(2)
        sent = 0
        try:
            for i in range(60000):
                deaf.send(text % (i, i))
                sent += 1
        except (TimeoutError, OSError):
            pass
        must(sent < 60000, "at some time it is stopped")
        must(memory(server) - before < 40_000, f"the memory stays bounded: {memory(server) - before} kB more")
        options(Link("tls", HOST, server.tls_port), "after-deaf")
        deaf.close()


def memory(server):
    """Resident, in kB."""
    with open(f"/proc/{server.process.pid}/status") as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


def many(part, server, quiet_port):
    """On a port for TLS alone: where WebSocket is spoken too, who says nothing is a handshake that does not end."""
    with part.test(f"{IDLE} idle TLS connections"):
        before = memory(server)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        links = []
        began = time.monotonic()
        for i in range(IDLE):
            s = socket.socket()
            s.bind((f"127.0.{1 + i // 90}.1", 0)) # each address may have 100
            s.connect((HOST, quiet_port))
            links.append(context.wrap_socket(s))
        took = time.monotonic() - began
        until("all are there", lambda: server.ask("status")["connections"] >= IDLE)
        each = (memory(server) - before) / IDLE
        print(f"# {IDLE} handshakes in {took:.1f} s, with the client's part; {each:.1f} kB for each connection")
        must(each < 40, f"an idle connection costs less than 40 kB: {each:.1f}")
        a, b = Phone("a", "tls", HOST, server.tls_port), Phone("b", "udp", HOST, server.port)
        at = time.monotonic()
        options(a.link, "among-many")
        must(time.monotonic() - at < 1, "the next one is served at once")
        call(a, b, "among-many-call", extra=f"\nX-Target: sip:b@{b.address}")
        until("calls go on", server.idle)
        for s in links:
            s.close()
        until("they are gone", lambda: server.ask("status")["connections"] < 10)


class Peer:
    """A TLS server that answers every request with 486."""

    def __init__(self, cert, ca=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert)
        if ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(ca)
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.requests = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            s, _ = self.listener.accept()
            try:
                s = self.context.wrap_socket(s, server_side=True)
                link = Link.__new__(Link)
                link.socket, link.transport, link.rest, link.websocket = s, "tls", b"", False
                phone = Phone.__new__(Phone)
                phone.link, phone.contact = link, "<sip:x@x.invalid>"
                while True:
                    request = link.receive()
                    self.requests += 1
                    if not request.startswith("ACK"):
                        phone.answer(request, 486, tag="t")
            except (OSError, house.Failure, ValueError):
                pass


def strangers(part, script, ca):
    other = Authority(part, "another")
    cases = [
        ("a good certificate", ca.sign("good", f"IP:{HOST}"), 486),
        ("that of another name", ca.sign("elsewhere", "DNS:elsewhere.example"), 503),
        ("one that is signed by itself", house.certificate(part, "selfish"), 503),
        ("one of another authority", other.sign("other", f"IP:{HOST}"), 503),
        ("one that has expired", ca.sign("expired", f"IP:{HOST}", days=-1), 503),
    ]
    server = house.Server(part, script, f"tls_ca={ca.cert}", tls=ca.sign("server", "DNS:example.org"))
    caller = Phone("caller", "udp", HOST, server.port)
    for i, (name, cert, code) in enumerate(cases):
        with part.test(f"siphook connects to a server with {name}: {code}", keep=True):
            peer = Peer(cert)
            caller.request("INVITE", "sip:x@example.org", "<sip:x@example.org>", f"stranger{i}", 1,
                           extra=f"\nX-Target: sip:x@{HOST}:{peer.port};transport=tls")
            got = caller.link.expect("SIP/2.0 ")
            while got.startswith("SIP/2.0 1"):
                got = caller.link.expect("SIP/2.0 ")
            caller.request("ACK", "sip:x@example.org", header(got, "To"), f"stranger{i}", 1)
            must(got.startswith(f"SIP/2.0 {code}"), f"{code} is the answer: {got}")
            must((peer.requests > 0) == (code == 486), f"only a good server sees requests: {peer.requests}")
    with part.test("without a TLS listener, too"):
        out = house.Server(part, script, f"tls_ca={ca.cert}")
        phone = Phone("caller", "udp", HOST, out.port)
        peer = Peer(part.file("good.pem"))
        phone.request("INVITE", "sip:x@example.org", "<sip:x@example.org>", "out", 1, extra=f"\nX-Target: sip:x@{HOST}:{peer.port};transport=tls")
        phone.link.expect("SIP/2.0 486")
    with part.test("the log says why"):
        for words in ("hostname mismatch", "self-signed certificate", "unable to get local issuer certificate", "certificate has expired"):
            must(server.says(words), f"{words} is in the log")
    server.stop()


def mutual(part, script, ca):
    with part.test("who must show a certificate does so, and the script knows whose it is"):
        server = house.Server(part, script, f"tls_ca={ca.cert}", "tls_verify=mutual", tls=ca.sign("gate", "DNS:example.org"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(ca.cert)
        context.load_cert_chain(ca.sign("trunk", "DNS:trunk.example.net,URI:sip:example.net"))
        link = Link("udp", HOST, server.port)
        must(names_of(link, "m0") == "no TLS", "UDP has no names")
        link = Link.__new__(Link)
        link.socket = context.wrap_socket(socket.create_connection((HOST, server.tls_port)), server_hostname="example.org")
        link.transport, link.rest, link.websocket = "tls", b"", False
        must(names_of(link, "m1") == "<example.net>", f"the certificate's names: {names_of(link, 'm2')}")
        try:
            bare = Link("tls", HOST, server.tls_port)
            options(bare, "m3")
            must(False, "without a certificate nothing is answered")
        except (OSError, house.Failure) as e:
            must("without" not in str(e), str(e))
        server.stop()
    with part.test("so does a script on another worker than the connection's", keep=True):
        server = house.Server(part, script, f"tls_ca={ca.cert}", "tls_verify=mutual", "workers=4", tls=part.file("gate.pem"))
        link.socket = context.wrap_socket(socket.create_connection((HOST, server.tls_port)), server_hostname="example.org")
        link.rest = b""
        told = {names_of(link, f"w{i}") for i in range(20)} # their Call-IDs choose the worker
        must(told == {"<example.net>"}, f"each of them knows: {told}")
        server.stop()


def reload(part, script, ca):
    def serial(server):
        return ssl.DER_cert_to_PEM_cert(ssl.SSLSocket.getpeercert(Link("tls", HOST, server.tls_port).socket, True))

    with part.test("certificates are read again, a pair that does not fit is refused, and connections live on", keep=True):
        path = ca.sign("now", "DNS:example.org")
        shutil.copy(path, part.file("used.pem"))
        server = house.Server(part, script, tls=part.file("used.pem"))
        link = Link("tls", HOST, server.tls_port)
        options(link, "r0")
        first = serial(server)
        with open(ca.sign("later", "DNS:example.org")) as f:
            later = f.read()
        with open(path + ".key") as f:
            wrong_key = f.read()
        part.file("used.pem", later[:later.index("-----BEGIN PRIVATE")] + wrong_key)
        code, said = server.command("reload", "--tls")
        must(code == 1 and "the key does not belong to the certificate" in said, f"the pair is refused: {said}")
        code, said = server.command("reload")
        must(code == 1 and "the key does not belong to the certificate" in said, f"with the script, too: {said}")
        must(serial(server) == first, "the old certificate is shown")
        part.file("used.pem", "nonsense")
        code, said = server.command("reload", "--tls")
        must(code == 1 and "no certificate in it" in said, f"nonsense is refused: {said}")
        part.file("used.pem", later)
        code, said = server.command("reload", "--tls")
        must(code == 0, f"the new pair is taken: {said}")
        must(serial(server) != first, "the new certificate is shown")
        must(server.generation == 1, "the script is the same")
        options(link, "r1")
    with part.test(f"{RELOADS} reloads leak neither memory nor descriptors"):
        pair = [later, open(path).read()]

        def rounds(n):
            for i in range(n):
                part.file("used.pem", pair[i % 2])
                with socket.socket(socket.AF_UNIX) as s: # as the command does, without a process for each
                    s.settimeout(30)
                    s.connect(server.control)
                    s.sendall(b"reload tls\n")
                    said = s.makefile().readline()
                must('"ok":true' in said, f"a good pair is taken: {said}")
            return memory(server), len(os.listdir(f"/proc/{server.process.pid}/fd"))
        before = rounds(20 + RELOADS // 50)
        after = rounds(RELOADS)
        print(f"# {RELOADS} reloads: {before[0]} kB, then {after[0]} kB")
        must(after[0] - before[0] < 1500, f"memory: {before[0]} kB, then {after[0]} kB")
        must(after[1] <= before[1] + 1, f"descriptors: {before[1]}, then {after[1]}")
        options(link, "r2")
        must(server.stop() == 0, "siphook ends with 0")


def sips(part, ca):
    script = part.file("sips.lua", """
local sip = require "siphook"
sip.domains { "example.org" }
sip.on.register(function(req) req:register {} end)
sip.on.invite(function(call)
  local leg, res = call:fork(sip.lookup(call.uri), { timeout = 5 })
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)
""")
    with part.test("sips: who registered by sip is not called by it, who registered by sips is called by TLS (RFC 5630)", keep=True):
        server = house.Server(part, script, tls=ca.sign("sips", "DNS:example.org"))
        plain, secure, caller = [Phone(user, transport, HOST, server.tls_port if transport == "tls" else server.port)
                                 for user, transport in (("plain", "tls"), ("secure", "tls"), ("caller", "udp"))]
        plain.register()
        secure.contact = f"<sips:secure@{secure.address}>"
        secure.request("REGISTER", "sip:example.org", "<sip:secure@example.org>", "s0", 1)
        said = secure.link.expect("SIP/2.0 400")
        must("Needs a sips Request-URI" in said, f"a sips Contact in a sip registration: {said}")
        secure.request("REGISTER", "sips:example.org", "<sip:secure@example.org>", "s1", 1)
        must("<sips:secure@" in header(secure.link.expect("SIP/2.0 200"), "Contact"), "it is bound")

        def refused(phone, start):
            invite = phone.link.expect("INVITE")
            must(invite.startswith(start), f"{start} is expected: {invite}")
            phone.answer(invite, 486, tag="b")
            phone.link.expect("ACK")
            return invite

        secure.request("INVITE", "sips:plain@example.org", "<sips:plain@example.org>", "s2", 1, body=SDP)
        said = secure.link.expect("SIP/2.0 480")
        must(re.match(r'380 \S+ "SIPS Not Allowed"', header(said, "Warning")), f"no downgrade: {said}")
        must(plain.link.silent(), "nothing is sent in the clear of sip")
        other = Phone("other", "tls", HOST, server.tls_port)
        other.contact = f"<sips:other@{other.address}>"
        other.request("INVITE", "sips:secure@example.org", "<sips:secure@example.org>", "s3", 1, body=SDP)
        invite = refused(secure, "INVITE sips:secure@")
        must("<sips:" in header(invite, "Contact"), "our Contact is sips, too")
        other.link.expect("SIP/2.0 486")
        caller.request("INVITE", "sip:secure@example.org", "<sip:secure@example.org>", "s4", 1, body=SDP)
        invite = refused(secure, "INVITE sip:secure@")
        must("SIP/2.0/TLS" in header(invite, "Via"), "by TLS all the same")
        caller.link.expect("SIP/2.0 486")

        def answer(phone, uri, contact, name):
            phone.contact = contact
            phone.request("INVITE", uri, f"<{uri}>", name, 1, body=SDP)
            return phone.link.expect("SIP/2.0 4")
        said = answer(other, "sips:secure@example.org", f"<sip:other@{other.address}>", "s5")
        must(said.startswith("SIP/2.0 400 A sips Request-URI Needs a sips Contact"), f"a sip Contact: {said}")
        said = answer(caller, "sips:secure@example.org", f"<sips:caller@{caller.address}>", "s6")
        must(said.startswith("SIP/2.0 400 No sips by UDP"), f"by datagrams: {said}")
        must(secure.link.silent() and plain.link.silent(), "nobody is called")
        secure.contact = f"<sips:secure@{secure.address}>;+sip.instance=\"<urn:uuid:9>\""
        secure.request("REGISTER", "sips:example.org", "<sip:secure@example.org>", "s1", 2, extra="\nSupported: gruu")
        contact = header(secure.link.expect("SIP/2.0 200"), "Contact")
        must('pub-gruu="sips:secure@example.org;gr=urn:uuid:9"' in contact, f"a GRUU of that scheme: {contact}")
        must(server.stop() == 0, "siphook ends with 0")
        server = house.Server(part, script)
        said = answer(Phone("x", "tcp", HOST, server.port), "sips:secure@example.org", "<sips:x@example.org>", "s7")
        must(said.startswith("SIP/2.0 416"), f"without TLS: {said}")
        must(server.stop() == 0, "siphook ends with 0")


def own(part, ca):
    with part.test("a listener has certificates of its own, which are read again, and a reload that names no listener closes it", keep=True):
        number, first = house.port(), house.port()
        pair = [open(ca.sign(name, "DNS:example.net")).read() for name in ("own1", "own2")]
        part.file("own.pem", pair[0])
        listen = f'sip.listen {{ uri = "tls://{HOST}:{number}", tls = {{ certificate = "own.pem", verify = "no" }} }}\n'
        both = listen + listen.replace("tls:/", "wss:/")
        script = part.file("own.lua", PLAN + both)
        server = house.Server(part, script, number=first, tls=ca.sign("instance", "DNS:example.org"))

        def subject(port):
            context = ssl.create_default_context(cafile=ca.cert)
            context.check_hostname = False
            with context.wrap_socket(socket.create_connection((HOST, port))) as s:
                return dict(x[0] for x in s.getpeercert()["subject"])["commonName"]
        must(subject(number) == "own1" and subject(server.tls_port) == "instance", "each has its own")
        link = Link("tls", HOST, number)
        options(link, "o1")
        part.file("own.pem", pair[1])
        code, said = server.command("reload", "--tls")
        must(code == 0 and subject(number) == "own2", f"read again: {said}")
        part.file("own.pem", "nonsense")
        for what in (["reload"], ["reload", "--tls"]):
            code, said = server.command(*what)
            must(code == 1 and "own.pem: no certificate in it" in said, f"refused: {said}")
        must(subject(number) == "own2", "the pair that fits goes on")
        shutil.copy(part.file("good.pem"), part.file("new.pem"))
        part.file("own.lua", PLAN + both.replace("own.pem", "new.pem"))
        code, said = server.command("reload")
        must(code == 0 and subject(number) == "good", f"another file: {said}")
        options(link, "o2")
        part.file("own.lua", PLAN)
        code, said = server.command("reload")
        must(code == 0, said)
        options(link, "o3")
        try:
            socket.create_connection((HOST, number)).close()
            must(False, "nobody listens there")
        except ConnectionRefusedError:
            pass
        must(not any(str(number) in l for l in server.ask("status")["listeners"]), "nor says so")
        counted = server.ask("status")
        must(counted["tls_handshakes"] >= 4 and counted["connections_tls"] == 1, f"all is counted: {counted}")
        must(server.stop() == 0, "siphook ends with 0")


def origins(part, ca):
    with part.test("pages of listed origins may connect, by the option and by sip.listen, and others get a 403 and no connection"):
        own = house.port()
        listen = f'sip.listen {{ uri = "ws://{HOST}:{own}", origins = {{ %s }} }}\n'
        script = part.file("origins.lua", PLAN + listen % '"https://desk.example"')
        server = house.Server(part, script, "ws_origin=https://phones.example", "ws_origin=http://localhost:8080",
                              tls=ca.sign("origins", "DNS:example.org"))

        def refused(transport, number, origin):
            try:
                Link(transport, HOST, number, origin=origin)
            except house.Failure as e:
                must("HTTP/1.1 403 Forbidden" in str(e), f"403: {e}")
            else:
                must(False, f"{origin} by {transport} is refused")

        def allowed(transport, number, origin, name):
            options(Link(transport, HOST, number, origin=origin), name)
        for transport, number in (("ws", server.port), ("wss", server.tls_port)):
            allowed(transport, number, "https://phones.example", f"w1{transport}")
            allowed(transport, number, "HTTP://LocalHost:8080", f"w2{transport}")
            allowed(transport, number, None, f"w3{transport}") # a program, and no page
            for origin in ("https://desk.example", "http://phones.example", "https://phones.example.evil", "null"):
                refused(transport, number, origin)
        allowed("ws", own, "https://desk.example", "w4")
        refused("ws", own, "https://phones.example")
        page = Link("ws", HOST, own, origin="https://desk.example")
        part.file("origins.lua", PLAN + listen % '"https://other.example"')
        server.reload()
        refused("ws", own, "https://desk.example")
        allowed("ws", own, "https://other.example", "w5")
        options(page, "w6") # who is in stays
        counted = server.ask("status")
        must(server.says("the origin is not allowed"), "the log says why")
        must(counted["ws_upgrades_refused"] == 10 and counted["ws_upgrades"] == 9, f"they are counted: {counted}")
        must(server.stop() == 0, "siphook ends with 0")


def listeners(part):
    with part.test("a listener may be changed again and again by reloads: UDP and TCP, one behind the other"):
        script = part.file("listeners.lua", PLAN)
        server = house.Server(part, script, "workers=2")
        for i in range(80):
            number, transport = house.port(), ("udp", "tcp")[i % 2]
            part.file("listeners.lua", PLAN + f'sip.listen {{ uri = "{transport}://{HOST}:{number}" }}\n')
            server.reload()
            link = Link(transport, HOST, number)
            options(link, f"l{i}")
            link.close()
        must(not server.says("too many listeners"), "there was always room")
        must(server.stop() == 0, "siphook ends with 0")


def tests(part):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard)) # of siphook, too
    script = part.file("plan.lua", PLAN)
    with part.test("siphook starts with a certificate of an authority", keep=True):
        ca = Authority(part)
        quiet_port = house.port()
        server = house.Server(part, script, f"listen=tls://{HOST}:{quiet_port}", tls=ca.sign("siphook", f"IP:{HOST},DNS:example.org"))
    versions(part, server, ca)
    slow(part, server)
    many(part, server, quiet_port)
    with part.test("siphook ends well"):
        must(server.stop() == 0, "its code is 0")
    strangers(part, script, ca)
    mutual(part, script, ca)
    reload(part, script, ca)
    own(part, ca)
    sips(part, ca)
    origins(part, ca)
    listeners(part)


if __name__ == "__main__":
    house.run(tests)
