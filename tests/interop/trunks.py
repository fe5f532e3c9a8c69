"""Two siphooks: one is the provider of the other, on real sockets."""
import house
import sipp
from house import HOST, must, until

PROVIDER = """local sip = require "siphook"
local function known(req) return req:auth{ realm = "provider", password = "secret" } end
sip.domains{ "%s" }
sip.on.register(function(req) if known(req) then req:register{} end end)
sip.on.invite(function(call)
  if not known(call) then return end
  sip.log.info("a call for %%s by %%s", call.uri.user, call.auth_user)
  call:reject(486)
end)
"""

CUSTOMER = """local sip = require "siphook"
local trunk = sip.trunk{ name = "north", uri = "sip:%s:%d", auth = { user = "acct", password = "%s" }, register = true, qualify = 1 }
sip.every(0.2, function()
  if trunk.state ~= "up" then return end
  local call, result = sip.originate{ first = { uri = trunk, user = "4711" }, timeout = 5 }
  sip.log.info("a call of ours: %%d %%s", result.code, result.cause)
end)
"""


GATEWAY = """local sip = require "siphook"
local trunk = sip.trunk{ name = "north", uri = "sip:%s:%d", auth = { user = "acct", password = "secret" }, register = true }
sip.every(0.1, function()
  if trunk.state ~= "up" or sip.shared("calls"):incr("n", 1) > 1 then return end
  local call, result = sip.originate{ first = { uri = trunk, user = "4711" }, identity = "sip:acct@example.org", timeout = 5 }
  sip.log.info("a call of ours: %%s", call and call.state or result.code)
  if not call then return end
  sip.sleep(0.2)
  call:hangup()
end)
"""


def tests(part):
    with part.test("trunks: SIPp is the provider: register and call with digest"):
        provider = sipp.Sipp(part, "provider", "udp", calls=2, digest_uri=None)
        customer = house.Server(part, part.file("gateway.lua", GATEWAY % (HOST, provider.port)))
        until("the trunk is up", lambda: customer.says("trunk north is up"))
        trunk = customer.ask("status")["trunks"][0]
        must(trunk["registered"] and trunk["uri"] == f"sip:{HOST}:{provider.port}", f"it is registered: {trunk}")
        until("the call is up", lambda: customer.says("a call of ours: up"))
        provider.succeeds(10)
        until("no call is left", customer.idle)

    with part.test("trunks: a trunk registers with its password, and calls go out by it"):
        provider = house.Server(part, part.file("provider.lua", PROVIDER % HOST))
        customer = house.Server(part, part.file("customer.lua", CUSTOMER % (HOST, provider.port, "secret")))
        until("it is registered", lambda: provider.ask("registrations"))
        until("the trunk is up", lambda: customer.says("trunk north is up"))
        trunk = customer.ask("status")["trunks"][0]
        must((trunk["name"], trunk["state"], trunk["registered"], trunk["code"]) == ("north", "up", True, 200), f"status says so: {trunk}")
        until("a call with credentials arrives", lambda: provider.says("a call for 4711 by acct"))
        until("and its answer comes back", lambda: customer.says("a call of ours: 486 busy"))
        must(customer.stop() == 0, "it stops")
        until("the registration is taken back", lambda: provider.ask("registrations") == [])

    with part.test("trunks: a wrong password is told and not tried again and again"):
        provider = house.Server(part, part.file("provider.lua", PROVIDER % HOST))
        customer = house.Server(part, part.file("customer.lua", CUSTOMER % (HOST, provider.port, "wrong")))
        until("the trunk is down", lambda: customer.says("trunk north is down (401"))
        must(provider.ask("registrations") == [], "nobody is registered")

    with part.test("trunks: a provider that falls silent is down, and up again when it answers"):
        provider = house.Server(part, part.file("provider.lua", PROVIDER % HOST))
        customer = house.Server(part, part.file("customer.lua", CUSTOMER % (HOST, provider.port, "secret")))
        until("the trunk is up", lambda: customer.says("trunk north is up"))
        must(provider.stop() == 0, "the provider stops")
        until("the trunk is down", lambda: customer.says("trunk north is down"))
        house.Server(part, part.file("provider.lua"), number=provider.port)
        until("the trunk is up again", lambda: customer.process.poll() is None and
              house.text_of(customer.log).count("trunk north is up") == 2)


if __name__ == "__main__":
    house.run(tests)
