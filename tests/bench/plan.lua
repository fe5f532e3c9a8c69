-- The dial plan that is measured: what route.lua is for Kamailio. Callee and number of users are the host's: config.callee,
-- config.users.
local sip = require "siphook"
local callee = "sip:callee@" .. (sip.config.callee or "127.0.0.1:15090")  -- with ;transport=tcp for calls by TCP
local passwords = sip.shared("passwords")
local open = sip.config.open  -- bindings without digest
local work = tonumber(sip.config.work) or 0  -- a costly hook: turns of an empty loop

for i = 0, (tonumber(sip.config.users) or 10000) - 1 do
  passwords:add(string.format("u%06d", i), string.format("pw%06d", i))
end

local function password(user) return passwords:get(user) end

sip.on.register(function(req)
  if not open then
    local user = req:auth{ realm = "bench", algorithms = { "MD5" }, password = password }
    if not user then return end
    if user ~= req.to.user then return req:reply(403) end
  end
  req:register{ min_expires = 60, max_contacts = 10 }
end)

sip.on.options(function(req) req:reply(200) end)

sip.on.invite(function(call)
  if work > 0 then for _ = 1, work do end end
  local targets = call.uri.user == "fixed" and { callee } or sip.lookup(call.uri)
  local leg, res = call:fork(targets, { timeout = 30 })
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)
