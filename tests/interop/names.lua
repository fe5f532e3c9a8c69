-- The dial plan of names.py. "dead-udp" is bob at the domain dead.example.test, by UDP; "v6-5070-tcp" is bob at [::1]:5070.
local sip = require "siphook"

local function target(user)
  local port, transport = user:match "^v6%-(%d+)%-(%a+)$"
  if port then return "sip:bob@[::1]:" .. port .. ";transport=" .. transport end
  local domain, by = user:match "^(%a+)%-(%a+)$"
  if by == "any" then return "sip:bob@" .. domain .. ".example.test" end
  return domain and "sip:bob@" .. domain .. ".example.test;transport=" .. by
end

sip.on.invite(function(call)
  local began = sip.now()
  local leg, res = call:fork({ target(call.uri.user) }, { timeout = 10 })
  sip.log.info("%s: %d after %.3f s", call.uri.user, leg and 200 or res.code, sip.now() - began)
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)
