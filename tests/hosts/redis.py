"""Runs stock redis-server with siphook inside and talks SIP to it: redis.py REDIS_SIPHOOK.SO SIPHOOK.SO SCRIPT"""
import os
import re
import socket
import subprocess
import sys
import tempfile
import time


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def request(method, own, port, serial, extra=""):
    return (
        f"{method} sip:test@127.0.0.1:{port} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKredis{serial};rport\r\n"
        "Max-Forwards: 70\r\n"
        "From: <sip:redis@127.0.0.1>;tag=redis\r\nTo: <sip:test@127.0.0.1>\r\n"
        f"Call-ID: redis{serial}@127.0.0.1\r\nCSeq: {serial} {method}\r\n"
        f"Contact: <sip:redis@127.0.0.1:{own}>\r\n{extra}Content-Length: 0\r\n\r\n"
    ).encode()


def field(text, name):
    return re.search(rf"(?im)^{name}:[ ]*(.*?)\r$", text).group(1)


def reply(invite, code, own):
    return (
        f"SIP/2.0 {code}\r\n"
        + "".join(f"Via: {v}\r\n" for v in re.findall(r"(?im)^Via:[ ]*(.*?)\r$", invite))
        + f"From: {field(invite, 'From')}\r\nTo: {field(invite, 'To')};tag=phone\r\n"
        f"Call-ID: {field(invite, 'Call-ID')}\r\nCSeq: {field(invite, 'CSeq')}\r\n"
        f"Contact: <sip:phone@127.0.0.1:{own}>\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def options_are_answered(sock, own, port, first):
    for serial in range(first, first + 30):
        sock.sendto(request("OPTIONS", own, port, serial), ("127.0.0.1", port))
        try:
            while True:
                answer = sock.recv(65536).decode()
                if f"{serial} OPTIONS" in answer:
                    break
        except (socket.timeout, ConnectionError):
            time.sleep(0.1)
            continue
        assert answer.startswith("SIP/2.0 200"), answer
        return
    raise AssertionError("OPTIONS was never answered")


def a_call_is_routed(sock, own, phone, phone_port, port):
    """The script of the tests sends every call to the phone."""
    sock.sendto(request("INVITE", own, port, 100), ("127.0.0.1", port))
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            text, peer = phone.recvfrom(65536)
            text = text.decode()
            if text.startswith("INVITE "):
                phone.sendto(reply(text, "200 OK", phone_port), peer)
        except socket.timeout:
            pass
        try:
            text = sock.recv(65536).decode()
        except socket.timeout:
            continue
        if text.startswith("SIP/2.0 200"):
            for method, serial in (("ACK", 100), ("BYE", 101)):
                more = request(method, own, port, serial).decode()
                more = more.replace(f"Call-ID: redis{serial}@", "Call-ID: redis100@")
                more = re.sub(r"(?m)^To: .*\r$", f"To: {field(text, 'To')}\r", more)
                more = more.replace("z9hG4bKredis", f"z9hG4bKredis{method}")
                sock.sendto(more.encode(), ("127.0.0.1", port))
            return
        assert text.startswith("SIP/2.0 1"), text
    raise AssertionError("the call was not answered")


def ask_redis(port, *words):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        text = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
        s.sendall(text.encode())
        return s.recv(65536).decode()


def main():
    module, siphook, script = map(os.path.abspath, sys.argv[1:4])
    phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    phone.bind(("127.0.0.1", 0))
    phone.settimeout(0.2)
    phone_port = phone.getsockname()[1]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(0.5)
    own = sock.getsockname()[1]
    redis_port, port = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    with tempfile.TemporaryDirectory() as folder:
        plan = os.path.join(folder, "plan.lua")
        with open(script) as f, open(plan, "w") as out:
            out.write(f.read().replace("sip.config.peer", f'"sip:phone@127.0.0.1:{phone_port}"'))
        server = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(redis_port), "--save", "", "--dir", folder,
             "--loadmodule", module, siphook, plan, f"udp://127.0.0.1:{port}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            options_are_answered(sock, own, port, 1)
            a_call_is_routed(sock, own, phone, phone_port, port)
            # Redis's own Lua beside ours, in the same process.
            assert ask_redis(redis_port, "EVAL", "return #'redis' + 37", "0").startswith(":42"), "EVAL"
            answer = ask_redis(redis_port, "siphook.query", "status")
            assert answer.startswith("$") and "{" in answer, answer
            options_are_answered(sock, own, port, 200)
            server.terminate()
            assert server.wait(10) == 0, f"redis-server ended with {server.returncode}"
        except BaseException:
            server.kill()
            print(server.stdout.read().decode(errors="replace"), file=sys.stderr)
            raise
    return 0


sys.exit(main())
