-- The dial plan of the phones; the test edits the line below while they talk.
local sip = require "siphook"
local version = 1

local passwords = { alice = "wonder", bob = "builder" }

sip.domains { "example.org" }

sip.on.register(function(req)
  local user = req:auth { realm = "example.org", algorithms = { "MD5" }, password = function(u) return passwords[u] end }
  if not user then return end
  if user ~= req.to.user then return req:reply(403) end
  req:register { min_expires = 60, max_contacts = 1, on_limit = "replace" }
end)

sip.on.invite(function(call)
  local user = call:auth { realm = "example.org", algorithms = { "MD5" }, password = function(u) return passwords[u] end }
  if not user then return end
  local wanted = call.uri.user
  if version == 2 and wanted == "secretary" then wanted = "bob" end
  local leg, res = call:fork(sip.lookup("sip:" .. wanted .. "@example.org"), { timeout = 20 })
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)

sip.on.answer(function(call) sip.log.info("answered by plan %d", version) end)
sip.on.hangup(function(call, why) sip.log.info("ended by %s", why.by) end)
