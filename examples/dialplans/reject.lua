-- Numbers that must not be called: by a list, by a pattern, by the time of day.
local sip = require "siphook"

-- Who is never put through, and why. The words go to the phone, that shows them.
local blocked = {
  ["0900"] = { 403, "Premium numbers are barred" },
  boss     = { 603, "Not today" },
}

-- The desk is staffed from 8 to 18; `-o config.closed=yes` closes it altogether.
local function closed()
  local hour = tonumber(os.date "%H")
  return sip.config.closed == "yes" or hour < 8 or hour >= 18
end

sip.on.invite(function(call)
  local number = call.uri.user or ""

  for start, answer in pairs(blocked) do
    if number:sub(1, #start) == start then
      return call:reject(answer[1], answer[2])
    end
  end

  -- Callers who hide their number: 433 says so (RFC 5079).
  if call.from.user == "anonymous" then
    return call:reject(433)
  end

  if number == "desk" and closed() then
    -- Retry-After tells machines when it makes sense to try again, Warning tells people.
    return call:reject(480, "Closed", { headers = { ["Retry-After"] = "3600" }, warning = "The desk opens at 8" })
  end

  local ok, result = call:dial(sip.lookup(call.uri), { timeout = 30 })
  if not ok then call:reject(result) end
end)

sip.on.register(function(req)
  req:register()                 -- without a password: for a closed network only
end)
