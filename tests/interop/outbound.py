"""baresip does outbound (RFC 5626) over UDP and TCP: its keep-alives keep its flow, and their end is the end of its binding."""
import re
import signal

import house
import phones
from house import must, until

ACCOUNT = ("<sip:{user}@{host}:{server};transport={transport}>;auth_user={user};auth_pass={password};regint=300;answermode={answer};"
           "audio_codecs=pcma;sipnat=outbound;outbound=\"sip:{host}:{server};transport={transport};lr\"\n")
PLAN = """
local sip = require "siphook"
sip.domains { "example.org", "%s" }
sip.on.register(function(req)
  if req:auth { realm = "x", password = "secret", algorithms = { "MD5" } } then req:register { flow_timer = 10 } end
end)
sip.on.binding(function(aor, contact, event) sip.log.info("%%s, reg-id %%s: %%s", contact.uri, contact.reg_id, event) end)
sip.on.invite(function(call)
  local ok, res = call:dial(sip.lookup(call.uri), { timeout = 5 })
  if not ok then call:reject(res) end
end)
"""


def tests(part):
    script = part.file("plan.lua", PLAN % house.HOST)
    phones.ACCOUNT = ACCOUNT
    phones.CONFIG = phones.CONFIG.replace("module_tmp account.so", "module_tmp uuid.so\nmodule_tmp account.so")
    with part.test("outbound: siphook starts", keep=True):
        server = house.Server(part, script)
    started = {}
    for transport in ("udp", "tcp"):
        with part.test(f"outbound, {transport}: baresip registers with a reg-id", keep=True):
            started[transport] = phones.Phone(part, server, transport, f"b{transport}", "secret", "auto")
            until("its binding has a flow", lambda: re.search(rf"sip:b{transport}.*, reg-id 1: added", house.text_of(server.log)))
    with part.test("outbound: they call each other by their flows, and either may hang up", keep=True):
        phones.talk(server, started["udp"], started["tcp"], "btcp", started["tcp"])
        phones.talk(server, started["tcp"], started["udp"], "budp", started["udp"])
    with part.test("outbound: they send keep-alives, as they were told", keep=True):
        before = server.ask("status")["keepalives"]
        # three each in a row: from then on siphook waits for those over UDP
        until("both have sent some", lambda: server.ask("status")["keepalives"] >= before + 6, seconds=60)
        must(len(server.ask("registrations")) == 2 and not server.says("lost"), "and stay")
    with part.test("outbound: who says nothing any more is gone, over UDP as over TCP"):
        for phone in started.values():
            phone.send(signal.SIGSTOP)
        try:
            until("both bindings are lost", lambda: len(server.ask("registrations")) == 0, seconds=45)
            until("the script hears it", lambda: house.text_of(server.log).count("lost") >= 2)
        finally:
            for phone in started.values():
                phone.send(signal.SIGCONT)
        must(server.stop() == 0, "siphook ends with 0")


if __name__ == "__main__":
    house.run(tests)
