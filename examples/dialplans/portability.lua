-- Number portability: before a call leaves, a service is asked which network the number belongs to now, and the routing number goes
-- along as RFC 4694 writes it (";rn=...;npdi").
local sip = require "siphook"

local service = sip.config.service or "http://lnp.example/v1/"
local seconds = 0.5                              -- that a caller waits for the service

local networks = {                               -- routing number = where that network takes calls
  ["+4919900"] = "10.0.2.1",
  ["+4919901"] = "10.0.2.2",
}
local default = "10.0.2.9"                       -- a transit carrier that can route whatever we cannot

local known = sip.shared "ported"                -- number = routing number, "" for one that was not ported

-- The routing number; "" for none; nil when nobody knows.
local function ask(number)
  local kept = known:get(number)
  if kept then return kept end
  local response, why = sip.http.get(service .. sip.http.escape(number), { timeout = seconds })
  local routing = nil
  if response and response.status == 404 then
    routing = ""
  elseif response and response.status == 200 then
    local answer = sip.json.decode(response.body)
    if type(answer) == "table" then routing = answer.routing_number or "" end
  end
  if type(routing) ~= "string" then                -- whatever else it says is no answer, and is not kept
    sip.log.warn("portability of %s: %s", number, why or response.status)
    return nil
  end
  known:set(number, routing, { ttl = 3600 })
  return routing
end

sip.on.invite(function(call)
  local number = call.uri.user and call.uri.user:match "^%+%d+$"
  if not number then return call:reject(484) end

  -- Who has asked already says so: not twice.
  local routing = call.uri.params.rn
  if not call.uri.params.npdi then routing = ask(number) end

  local user, host = number, default
  if type(routing) == "string" then
    user = number .. ";npdi"
    if routing ~= "" then
      user = number .. ";rn=" .. routing .. ";npdi"
      host = networks[routing] or default
    end
  end
  local leg, result = call:fork({ "sip:" .. user .. "@" .. host .. ";user=phone" }, { timeout = 60 })
  if not leg then return call:reject(result) end
  call:bridge(leg)
end)
