"""The same call over every transport, in IPv4 and IPv6, and from each of them to each other one."""
import house
from house import HOST, must, until
from wire import Phone, call

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")

PLAN = """
local sip = require "siphook"
sip.domains { "example.org" }
sip.on.register(function(req) req:register {} end)
sip.on.invite(function(call)
  sip.log.info("%s over %s", call.from.user, call.source.transport)
  local leg, res = call:fork(sip.lookup(call.uri), { timeout = 10 })
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)
"""


def port_of(server, transport):
    return server.tls_port if transport in ("tls", "wss") else server.port


def tests(part):
    script = part.file("plan.lua", PLAN)
    cert = house.certificate(part, "siphook", names=f"IP:{HOST},IP:::1,DNS:example.org")
    for host in (HOST, "::1"):
        family = "IPv6" if ":" in host else "IPv4"
        with part.test(f"{family}: siphook listens for all transports", keep=True):
            server = house.Server(part, script, tls=cert, host=f"[{host}]" if ":" in host else host)
        phones = {}
        for transport in TRANSPORTS:
            with part.test(f"{family}, {transport}: a call, ended by either side"):
                pair = [Phone(user + transport, transport, host, port_of(server, transport)) for user in ("a", "b")]
                phones[transport] = pair
                for phone in pair:
                    phone.register()
                call(*pair, f"one-{transport}")
                call(*pair, f"two-{transport}", callee_ends=False)
                until("no call is left", server.idle)
                must(server.says(f"a{transport} over {transport}"), "the script knows the transport")
        with part.test(f"{family}: from each transport to each other one"):
            for a, first in phones.items():
                for b, second in phones.items():
                    if a != b:
                        call(first[0], second[1], f"{a}-{b}", callee_ends=a < b)
            until("no call is left", server.idle)
        with part.test(f"{family}: all leave"):
            for pair in phones.values():
                for phone in pair:
                    phone.close()
            until("only datagrams have no end", lambda: len(server.ask("registrations")) == 2)
            must(server.stop() == 0, "siphook ends with 0")
        part.end()


if __name__ == "__main__":
    house.run(tests)
