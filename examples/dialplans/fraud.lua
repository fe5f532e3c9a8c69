-- Against abuse of stolen passwords: limits for each user on calls at once, calls a minute, minutes a day and expensive destinations; who tries
-- passwords is shut out; a user who goes over a limit is blocked until somebody looks.
local sip = require "siphook"

local passwords = { alice = "wonder", bob = "builder" }
local gateway = sip.config.gateway or "10.0.0.3"

local limits = {
  at_once    = 2,          -- calls of one user
  per_minute = 5,          -- attempts
  per_day    = 7200,       -- seconds of calls to the outside
  longest    = 3600,       -- seconds of one call
}
local expensive = { "+882", "+883", "+53", "+252", "+960" }        -- forbidden but for users named here
local may_dial_all = { bob = true }

local counters = sip.shared "fraud"
local blocked = sip.shared "blocked"                                -- user = reason; delete the key to let the user in again

local function block(user, reason)
  blocked:set(user, reason)
  sip.log.error("FRAUD: %s is blocked: %s", user, reason)
end

-- An address that sends five wrong passwords within ten minutes gets no answer for the next ten. The server counts, for it knows a wrong
-- password from a challenge that has grown old, which honest phones answer each day.
sip.acl{ max_failures = 5, failure_window = 600, ban_time = 600 }

-- Who sends it; nil: refused, and answered.
local function who(request)
  return request:auth{ realm = "fraud", password = function(name) return passwords[name] end }
end

sip.on.register(function(req)
  local user = who(req)
  if not user then return end
  if user ~= req.to.user then return req:reply(403) end
  req:register()
end)

local function is_expensive(number)
  for _, prefix in ipairs(expensive) do
    if number:sub(1, #prefix) == prefix then return true end
  end
  return false
end

-- The reason why this call is not made; nil: it is.
local function objection(call, user, number)
  if blocked:get(user) then return "Blocked" end
  if counters:incr("minute:" .. user, 1, { ttl = 60 }) > limits.per_minute then
    block(user, "more than " .. limits.per_minute .. " calls a minute")
    return "Too many calls"
  end
  if is_expensive(number) and not may_dial_all[user] then
    block(user, "dialled " .. number)
    return "Destination not allowed"
  end
  if (counters:get("day:" .. user) or 0) >= limits.per_day then return "Limit of the day" end
  if not call:limit("user:" .. user, limits.at_once) then return "Too many calls at once" end
end

sip.on.invite(function(call)
  local user = call.source.ip ~= gateway and who(call)
  if user == nil then return end
  local number = call.uri.user or ""

  if user and number:find "^%+" then
    local reason = objection(call, user, number)
    if reason then return call:reject(403, reason) end
    call.data = { user = user }
    local left = limits.per_day - (counters:get("day:" .. user) or 0)
    local leg, result = call:fork({ uri = "sip:" .. number .. "@" .. gateway, pai = "sip:" .. user .. "@" .. call.from.host }, { timeout = 60 })
    if not leg then return call:reject(result) end
    return call:bridge(leg, { max_duration = math.min(limits.longest, left) })
  end

  local leg, result = call:fork(sip.lookup(number), { timeout = 30 })
  if not leg then return call:reject(result) end
  call:bridge(leg)
end)

-- What a call has used up counts for a day from the first one on.
sip.on.hangup(function(call)
  local user = call.data.user
  if user and call.duration > 0 then counters:incr("day:" .. user, math.ceil(call.duration), { ttl = 86400 }) end
end)
