"""Runs stock redis-server with siphook inside and talks SIP to it: redis.py REDIS_SIPHOOK.SO SIPHOOK.SO SCRIPT"""
import os
import socket
import subprocess
import sys
import tempfile

from sip import Caller, free_port


def ask_redis(port, *words):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        text = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
        s.sendall(text.encode())
        return s.recv(65536).decode()


def main():
    module, siphook, script = map(os.path.abspath, sys.argv[1:4])
    redis_port, port = free_port(socket.SOCK_STREAM), free_port()
    caller = Caller(port)
    with tempfile.TemporaryDirectory() as folder:
        plan = os.path.join(folder, "plan.lua")
        with open(script) as f, open(plan, "w") as out:
            out.write(f.read().replace("sip.config.peer", f'"sip:phone@127.0.0.1:{caller.phone_port}"'))
        server = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(redis_port), "--save", "", "--dir", folder,
             "--loadmodule", module, siphook, plan, f"udp://127.0.0.1:{port}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            assert caller.options() == 200
            caller.connect()
            # Redis's own Lua beside ours, in the same process.
            assert ask_redis(redis_port, "EVAL", "return #'redis' + 37", "0").startswith(":42"), "EVAL"
            answer = ask_redis(redis_port, "siphook.query", "status")
            assert answer.startswith("$") and "{" in answer, answer
            caller.hang_up()
            assert caller.options() == 200
            server.terminate()
            assert server.wait(10) == 0, f"redis-server ended with {server.returncode}"
        except BaseException:
            server.kill()
            print(server.stdout.read().decode(errors="replace"), file=sys.stderr)
            raise
    return 0


sys.exit(main())
