-- The dial plan of the contract, with a few numbers more.
local sip = require "siphook"
local users = sip.shared("users")

sip.on.register(function(req)
  local user = req:auth{ realm = "example.org", password = function(u) return users:get("pw:" .. u) end }
  if not user then return end
  if user ~= req.to.user then return req:reply(403) end
  req:register{ min_expires = 60, max_contacts = 5 }
end)

sip.on.invite(function(call)
  local dest = call.uri.user
  if dest == "900" then return call:reject(603, "Declined") end
  if dest == "help" then return call:redirect{ "sip:desk1@example.org", "sip:desk2@example.org" } end
  if dest == "oops" then error "on purpose" end
  local leg, res = call:fork(sip.lookup(call.uri), { timeout = 20 })
  if not leg and res.cause ~= "declined" then
    leg, res = call:fork({ "sip:mail@10.0.0.2" }, { timeout = 10 })
  end
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)
