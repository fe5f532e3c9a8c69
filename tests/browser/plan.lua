local sip = require "siphook"

local passwords = { alice = "wonder", bob = "builder", carol = "singer", dave = "driver" }
sip.domains { "example.org" }

sip.on.register(function(req)
  -- MD5 alone: baresip 1.0 gives up when it meets another algorithm
  local user = req:auth { realm = "example.org", algorithms = { "MD5" }, password = function(u) return passwords[u] end }
  if not user then return end
  if user ~= req.to.user then return req:reply(403) end
  req:register { min_expires = 5, max_contacts = 5 }
end)

sip.on.invite(function(call)
  local leg, res = call:fork(sip.lookup(call.uri), { timeout = 15 })
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)

sip.on.refer(function(ref)
  ref:accept { timeout = 15 }
end)

sip.on.message(function(req)
  if req.uri.user == "connect" then -- "call me and whom I name"
    req:reply(202)
    sip.originate { first = sip.lookup(req.from), second = sip.lookup(("sip:%s@example.org"):format(req.body)), timeout = 15 }
    return
  end
  local res = req:relay(sip.lookup(req.uri))
  if not res then req:reply(404) end
end)

sip.on.answer(function(call)
  sip.log.info("answered by plan %d: %s calls %s over %s", 1, call.from.user, call.uri.user, call.source.transport)
end)
