local sip = require "siphook"
local users = sip.shared "users"

local function who(request)
  return request:auth{ realm = "example.org", password = function(name) return users:get("pw:" .. name) end }
end

sip.on.register(function(req)
  if who(req) then req:register() end
end)

sip.on.invite(function(call)
  if not who(call) then return end
  local leg, res = call:fork(sip.lookup(call.uri), { timeout = tonumber(sip.config.seconds) or 20 })
  if sip.config.mailbox ~= "no" and not leg then leg, res = call:fork({ "sip:mail@10.0.0.2" }, { timeout = 10 }) end
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)
