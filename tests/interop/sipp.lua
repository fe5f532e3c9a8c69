-- The dial plan of the SIPp scenarios. "bob-5070-tcp" is bob at that port of this machine.
local sip = require "siphook"

local passwords = { alice = "wonder", bob = "builder" }

local function bob(uri)
  local port, transport = (uri.user or ""):match("^bob%-(%d+)%-(%a+)$")
  return port and { "sip:bob@127.0.0.1:" .. port .. ";transport=" .. transport } or {}
end

sip.domains { "example.org" }

sip.on.register(function(req)
  local user = req:auth { realm = "example.org", algorithms = { "MD5" }, password = function(u) return passwords[u] end }
  if not user then return end
  if user ~= req.to.user then return req:reply(403) end
  req:register { min_expires = 60, max_contacts = 5 }
end)

sip.on.invite(function(call)
  if call.uri.user == "900" then return call:reject(603, "Not today") end
  if call.uri.user == "help" then return call:redirect { "sip:desk1@example.org", "sip:desk2@example.org" } end
  local leg, res = call:fork(bob(call.uri), { timeout = 10 })
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)

sip.on.message(function(req)
  if not req.call then req:relay(bob(req.uri)) end
end)
