"""nginx is reloaded, as its users do it: what runs goes on. Part of nginx.py."""
import os
import re
import signal
import socket
import sys
import time

from nginx_server import Server, alive
from phone import Phone, call, hang_up
from sip import Caller, field, free_port, sipp_call, sipp_passed, wait_for

here = os.path.dirname(os.path.abspath(__file__))


def reload(server):
    count = server.serving()
    server.reload()
    wait_for("the next worker serves", 20, lambda: server.serving() == count + 1)


class running:
    """A server with a dial plan and a port for UDP and TCP; what it has logged is shown when the test fails."""

    def __init__(self, folder, plan, peer="sip:phone@127.0.0.1:9", extra=""):
        self.port = free_port()
        uris = [f"udp://127.0.0.1:{self.port}", f"tcp://127.0.0.1:{self.port}"]
        self.server = Server(folder, plan, uris, peer, extra)

    def __enter__(self):
        self.server.start()
        self.caller = Caller(self.port)
        assert self.caller.options(20) == 200
        return self.server, self.caller, self.port

    def __exit__(self, kind, *ignored):
        if kind:
            print(self.server.logged()[-8000:], file=sys.stderr)
        self.server.kill(kind is None)


def reloads_lose_no_call(folder):
    """Ten HUPs under 200 calls a second that last for a second each; and calls that last across several of them."""
    phones = free_port(), free_port()
    plan, apart = os.path.join(folder, "plan.lua"), os.path.join(folder, "lasting")
    os.mkdir(apart)
    with open(plan, "w") as f:
        f.write("""local sip = require "siphook"
sip.on.invite(function(call)
	call:dial{ call.uri.user == "lasting" and "sip:127.0.0.1:%d" or "sip:127.0.0.1:%d" }
end)
""" % phones)
    with running(folder, plan) as (server, caller, port):
        lasting = sipp_call(port, phones[0], apart, hold_ms=9000, calls=20, rate=5, user="lasting")
        load = sipp_call(port, phones[1], folder, hold_ms=1000, calls=2400, rate=200)
        for _ in range(10):
            time.sleep(1)
            reload(server)
            assert caller.options() == 200
        sipp_passed(lasting, apart)
        sipp_passed(load, folder)
        assert server.status()["forwards_lost"] == 0


PLAN = """
local sip = require "siphook"
local calls = sip.shared("calls")

sip.on.register(function(req)
	local user = req:auth{ realm = "hosts", password = function() return "secret" end }
	if user then
		req:register{}
	end
end)

sip.on.invite(function(call)
	calls:incr("begun", 1)
	calls:incr("live", 1)
	call:dial(sip.lookup("sip:" .. sip.config.callee .. "@127.0.0.1"))
end)

sip.on.hangup(function(call)
	calls:incr("live", -1)
end)

sip.on.options(function(req)
	req:reply(200, { headers = { ["X-Calls"] = (calls:get("begun") or 0) .. " " .. (calls:get("live") or 0) } })
end)
"""


def plan_with(folder, callee):
    plan = os.path.join(folder, "plan.lua")
    with open(plan, "w") as f:
        f.write(PLAN)
    return plan, f"siphook_option config.callee {callee};"


def counted(port):
    caller = Caller(port)
    caller.new()
    caller.send("OPTIONS", 1)
    return field(caller.take(caller.a, "SIP/2.0 200"), "X-Calls")


def phones_stay_registered(folder):
    """By UDP: the binding and the nonce are known to the next worker, and so is what the dial plan counts."""
    plan, extra = plan_with(folder, "bob")
    with running(folder, plan, extra=extra) as (server, caller, port):
        bob = Phone(port, "bob")
        assert bob.register() and not bob.register()
        call(caller, bob)
        assert counted(port) == "1 1"
        if os.geteuid() == 0:
            key = os.stat(os.path.join(folder, "state.key"))
            assert (key.st_uid, key.st_mode & 0o7777) == (0, 0o600), "the secret of the workers is root's"
        reload(server)
        assert counted(port) == "1 1", "shared stores go over"
        second = Caller(port)
        call(second, bob)
        assert not bob.register(), "the nonce is known: no new challenge"
        reload(server)
        hang_up(caller, bob)
        hang_up(second, bob)
        wait_for("what ends in the old workers is counted in the new one", 5, lambda: counted(port) == "2 0")
        assert len(server.registrations()) == 1
        bob.register(expires=0)
        assert server.registrations() == []
        # Many bindings, many reloads.
        crowd = [Phone(port, f"user{n}") for n in range(50)]
        for phone in crowd:
            phone.register()
        for _ in range(3):
            reload(server)
        assert len(server.registrations()) == 50


def connections_are_used_through_the_old_worker(folder):
    """By TCP: the connection stays with the old worker as long as that one has calls; then it is closed, and the phone comes again."""
    plan, extra = plan_with(folder, "carol")
    with running(folder, plan, extra=extra) as (server, caller, port):
        carol = Phone(port, "carol", socket.SOCK_STREAM)
        carol.register()
        call(caller, carol)  # it keeps the old worker alive
        reload(server)
        second = Caller(port)
        call(second, carol)  # from the new worker, through the old one
        hang_up(second, carol)
        assert not carol.register(), "a request on the old connection is answered by the new worker"
        reload(server)
        call(second, carol)  # the connection is now two workers away
        hang_up(second, carol)
        hang_up(caller, carol)
        assert carol.read(60) is None, "the connection is closed"
        wait_for("its binding is gone", 5, lambda: server.registrations() == [])
        again = Phone(port, "carol", socket.SOCK_STREAM)
        again.register()
        call(caller, again)
        hang_up(caller, again)


def calls_in_setup_go_on(folder):
    """A reload while it rings: repetitions, CANCEL, the answer and its ACK find the worker that began."""
    with running(folder, os.path.join(here, "host.lua")) as (server, caller, port):
        server.peer = f"sip:phone@127.0.0.1:{caller.phone_port}"
        server.configure()
        reload(server)
        # Answered by the callee behind the reload.
        caller.new()
        caller.send("INVITE", 1)
        invite = caller.take(caller.b, "INVITE ")
        reload(server)
        caller.send("INVITE", 1)  # again: nobody may be called twice
        caller.reply(invite, "180 Ringing")
        caller.take(caller.a, "SIP/2.0 180")
        caller.reply(invite, "200 OK")
        caller.to = ";tag=" + field(caller.take(caller.a, "SIP/2.0 200"), "To").split(";tag=")[1]
        caller.send("ACK", 1, caller.to)
        came = caller.take(caller.b, "(ACK|INVITE) ")
        while came.startswith("INVITE") and field(came, "Via") == field(invite, "Via"):
            came = caller.take(caller.b, "(ACK|INVITE) ")  # the reload took longer than T1, and the INVITE was repeated
        assert came.startswith("ACK"), came
        caller.hang_up()
        # Cancelled behind the reload.
        caller.new()
        caller.send("INVITE", 1)
        invite = caller.take(caller.b, "INVITE ")
        caller.reply(invite, "180 Ringing")
        caller.take(caller.a, "SIP/2.0 180")
        reload(server)
        caller.send("CANCEL", 1, branch="INVITE")
        caller.take(caller.a, "SIP/2.0 200")
        caller.reply(caller.take(caller.b, "CANCEL "), "200 OK")
        caller.reply(invite, "487 Request Terminated")
        refused = caller.take(caller.a, "SIP/2.0 487")
        caller.send("ACK", 1, ";tag=" + field(refused, "To").split(";tag=")[1], branch="INVITE")
        caller.take(caller.b, "ACK ")


def worker_shutdown_timeout_ends_what_is_left(folder):
    with running(folder, os.path.join(here, "host.lua")) as (server, caller, port):
        server.peer = f"sip:phone@127.0.0.1:{caller.phone_port}"
        server.configure("worker_shutdown_timeout 1s;")
        reload(server)
        caller.connect()
        old = server.sip_worker()
        reload(server)
        caller.is_hung_up()
        wait_for("the old worker is gone", 10, lambda: not alive(old))
        assert Caller(port).options() == 200


def an_address_that_is_given_up_serves_its_calls(folder):
    with running(folder, os.path.join(here, "host.lua")) as (server, caller, port):
        server.peer = f"sip:phone@127.0.0.1:{caller.phone_port}"
        server.configure()
        reload(server)
        caller.connect()
        other = free_port()
        server.listen = [f"udp://127.0.0.1:{other}"]
        server.configure()
        reload(server)
        assert Caller(other).options() == 200
        caller.hang_up()


def inheritable_sockets(pid, port):
    """Of a process and port: which a program that it executes would get."""
    inodes = {line.split()[9] for kind in ("udp", "tcp") for line in open(f"/proc/{pid}/net/{kind}").readlines()[1:]
              if line.split()[1].endswith(f":{port:04X}")}
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            name = os.readlink(f"/proc/{pid}/fd/{fd}")
            flags = int(re.search(r"flags:\s*([0-7]+)", open(f"/proc/{pid}/fdinfo/{fd}").read()).group(1), 8)
        except FileNotFoundError:
            continue
        if name[:8] == "socket:[" and name[8:-1] in inodes and not flags & os.O_CLOEXEC:
            found.append(fd)
    return found


def another_nginx_takes_over(folder):
    """SIGUSR2: a new master with the old one's sockets; the old one ends when its calls do."""
    port = free_port()
    caller = Caller(port)
    server = Server(folder, os.path.join(here, "host.lua"), [f"udp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port}"],
                    f"sip:phone@127.0.0.1:{caller.phone_port}")
    try:
        old = server.detach()
        assert caller.options(20) == 200
        assert len(inheritable_sockets(old, port)) == 2
        forked = open(f"/proc/{old}/task/{old}/children").read().split()
        assert len(forked) >= 2
        wait_for("they leave no socket to programs", 10, lambda: not any(inheritable_sockets(pid, port) for pid in forked))
        caller.connect()
        os.kill(old, signal.SIGUSR2)
        wait_for("the new one serves", 20, lambda: server.serving() == 2)
        assert server.master() != old
        second = Caller(port)
        assert second.options() == 200
        os.kill(old, signal.SIGQUIT)
        assert second.options() == 200
        caller.hang_up()
        wait_for("the old one ends", 60, lambda: not alive(old))
        assert second.options() == 200 and server.status()["succeeded"] is False
        server.kill()
    except BaseException:
        server.kill(False)
        print(server.logged()[-8000:], file=sys.stderr)
        raise


tests = [reloads_lose_no_call, phones_stay_registered, connections_are_used_through_the_old_worker, calls_in_setup_go_on,
         worker_shutdown_timeout_ends_what_is_left, an_address_that_is_given_up_serves_its_calls, another_nginx_takes_over]
