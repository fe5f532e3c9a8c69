-- Emergency calls: 112 and 110 always go out, to the control centre of the caller's place, whoever calls, whatever else is
-- forbidden or full; the centre can call back.
local sip = require "siphook"

-- RFC 5031 names for what phones dial.
local services = {
  ["112"] = "urn:service:sos", ["110"] = "urn:service:sos.police", ["911"] = "urn:service:sos",
}

-- Calls to them pass every limit of the server too: this rate, bans, overload, the number of hooks.
sip.acl{ rate = 5, burst = 40, emergency = { "112", "110", "911", "+49112", "+49110" } }

-- Where the gateways to the control centres are, by place; the first that answers is taken.
local centres = {
  berlin = { "10.0.3.1", "10.0.3.2" },
  munich = { "10.0.3.3", "10.0.3.2" },
}
local default = { "10.0.3.2" }

-- The place and the number to call back, by extension. A nomadic user changes the place with a setting.
local extensions = {
  ["30"] = { place = "berlin", number = "+4930555030", address = "sip:floor3@berlin.example" },
  ["40"] = { place = "munich", number = "+4989555040", address = "sip:floor1@munich.example" },
}
local places = sip.shared "places"

local function service_of(uri)
  if uri.scheme == "urn" then return tostring(uri):lower():match "^urn:service:sos[%w.%-]*" end
  return services[(uri.user or ""):gsub("^%+49", "")]
end

local function emergency(call, service)
  local caller = extensions[call.from.user or ""] or {}
  local place = places:get(call.from.user or "") or caller.place
  local number = caller.number or "+4930555000"              -- the switchboard knows who sits where
  sip.log.warn("EMERGENCY %s by %s (%s), place %s", service, call.from.user or "?", call.source.ip, place or "unknown")

  local result
  for _, host in ipairs(centres[place] or default) do
    local leg
    leg, result = call:fork({
      uri = "sip:112@" .. host,
      from = "sip:" .. number .. "@" .. host,
      headers = {
        Priority = "emergency",
        ["Resource-Priority"] = "esnet.0",
        Geolocation = caller.address and "<" .. caller.address .. ">" or false,
      },
    }, { timeout = 120, first_timeout = 1.5, ignore_6xx = true })
    if leg then return call:bridge(leg) end
    sip.log.error("EMERGENCY: %s does not take the call: %d", host, result.code)
  end
  call:reject(result)
end

sip.on.register(function(req)
  req:register()                                             -- a closed network: without a password
end)

sip.on.invite(function(call)
  -- Before everything else: no password, no limit, no opening hours.
  local service = service_of(call.uri)
  if service then return emergency(call, service) end

  if sip.config.closed then return call:reject(480, "Closed") end
  local extension = call.uri.user
  for name, entry in pairs(extensions) do                    -- the centre calls back by the number that it saw
    if extension == entry.number then extension = name end
  end
  local leg, result = call:fork(sip.lookup(extension or ""), { timeout = 60 })
  if not leg then return call:reject(result) end
  call:bridge(leg)
end)
