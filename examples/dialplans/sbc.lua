-- A border between a telephone system and its provider: registers, knows who may call from where, hides the inside, writes numbers
-- in one way, and limits the lines.
local sip = require "siphook"

local provider = sip.trunk{
  name = "provider",
  uri = { sip.config.provider or "sip:10.0.0.3", sip.config.provider2 or "sip:10.0.0.4" },
  auth = { user = "acct7", password = "secret" },
  register = true, qualify = 60,
}
local pbx = sip.trunk{ name = "pbx", uri = sip.config.pbx or "sip:10.0.0.2", qualify = 60 }

local inside  = { [sip.config.pbx_ip or "10.0.0.2"] = true }
local outside = { [sip.config.provider_ip or "10.0.0.3"] = true, [sip.config.provider2_ip or "10.0.0.4"] = true }
local country, lines = "49", 30

-- Whom we believe when he says who calls (P-Asserted-Identity).
sip.acl{ trust = { "10.0.0.2", "10.0.0.3", "10.0.0.4" } }

-- "0301234", "00441234", "+491234" -> "+49301234" ...
local function e164(number)
  if number:match "^%+%d+$" then return number end
  if number:match "^00%d+$" then return "+" .. number:sub(3) end
  if number:match "^0%d+$" then return "+" .. country .. number:sub(2) end
end

sip.on.invite(function(call)
  local from_inside = inside[call.source.ip]
  if not from_inside and not outside[call.source.ip] then return call:reject(403) end

  local number = call.uri.user or ""
  if from_inside then number = e164(number) end
  if not number then return call:reject(404, "Not a telephone number") end

  local trunk = from_inside and provider or pbx
  if not call:limit(trunk.name, lines) then return call:reject(486, "No line is free") end
  if trunk.state == "down" then sip.log.warn("%s is down (%d)", trunk.name, trunk.code) end

  local ok, result = call:dial({ uri = trunk, user = number }, {
    timeout = 120, first_timeout = 3,
    copy = { "X-Account" },                                 -- all else of the other side stays there
  })
  if ok then return end
  -- What the provider says about itself is not the business of the caller.
  if result.cause == "unreachable" or result.cause == "failed" then return call:reject(480) end
  call:reject(result)
end)

sip.on.hangup(function(call, why)
  sip.log.info("cdr: %s -> %s, %.1f s, %s, %d, q850 %d", tostring(call.from), tostring(call.uri), call.duration, why.by, why.code,
    why.q850 or 0)
end)
