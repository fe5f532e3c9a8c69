-- Calls to the outside: the first provider that works. One that does not answer at all costs two seconds, and is left out for
-- a while.
local sip = require "siphook"

local trunks = {
  { name = "north", host = sip.config.north or "10.0.0.3" },
  { name = "south", host = sip.config.south or "10.0.0.4" },
}
local pause = 60                                 -- seconds that a dead trunk is left out

-- Shared by all workers; what is set with a ttl forgets itself.
local dead = sip.shared "dead_trunks"

-- Causes for which the next provider is tried. All others are the answer of the called person.
local try_next = { unreachable = true, failed = true, rejected = true }

sip.on.invite(function(call)
  local number = call.uri.user

  -- Only what looks like a telephone number goes out: +, then digits.
  if not number or not number:match "^%+%d+$" then
    return call:reject(404, "Not a telephone number")
  end

  local result
  for _, trunk in ipairs(trunks) do
    if not dead:get(trunk.name) then
      local leg
      leg, result = call:fork(
        { uri = "sip:" .. number .. "@" .. trunk.host, pai = call.from },
        { timeout = 60, first_timeout = 2 })
      if leg then return call:bridge(leg) end
      sip.log.warn("trunk %s: %d %s (%s)", trunk.name, result.code, result.reason, result.cause)
      if result.cause == "unreachable" then
        dead:set(trunk.name, true, { ttl = pause })
      end
      if not try_next[result.cause] then break end
    end
  end

  if result then
    call:reject(result)                          -- the answer of the last one tried
  else
    call:reject(503, "No trunk", { headers = { ["Retry-After"] = tostring(pause) } })
  end
end)
