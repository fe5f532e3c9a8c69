-- A hotel: rooms call each other and the reception; a guest orders a wake-up call by dialling *55*0630. The telephone rings at
-- that time, up to three times; when nobody takes it the reception gets a message.
local sip = require "siphook"

sip.domains{ "hotel.example" }

local announcement = sip.config.announcement or "sip:goodmorning@10.0.0.5"
local again_after, most_tries = 300, 3

sip.on.register(function(req) req:register() end)           -- a real one asks for a password: see office.lua

-- Seconds until that time of day (UTC here; a real hotel adds its offset).
local function seconds_until(hour, minute)
  local now = os.date("!*t")
  local wait = (hour - now.hour) * 3600 + (minute - now.min) * 60 - now.sec
  return wait > 0 and wait or wait + 86400
end

sip.on.invite(function(call)
  local hour, minute = (call.uri.user or ""):match "^%*55%*(%d%d)(%d%d)$"
  if hour then
    if tonumber(hour) > 23 or tonumber(minute) > 59 then return call:reject(484) end
    if not call.from.user then return call:reject(403) end
    -- It outlives a reload, not a restart: for that, keep the orders in a store with `persist` and look at them in a sip.every.
    sip.after(seconds_until(tonumber(hour), tonumber(minute)), "wake_up", { room = call.from.user, tries = 1 })
    sip.log.info("room %s: wake-up call at %s:%s", call.from.user, hour, minute)
    call:answer()                                           -- the phone shows that it was accepted
    return call:hangup{ reason = "Ordered for " .. hour .. ":" .. minute }
  end

  local ok, result = call:dial(sip.lookup(call.uri), { timeout = 60 })
  if not ok then call:reject(result) end
end)

-- By its name, so that a reload of this file does not forget anybody's wake-up call.
sip.timer.wake_up = function(order)
  local call, result = sip.originate{
    first = sip.lookup(order.room),
    identity = '"Wake-up call" <sip:wakeup@hotel.example>',
    timeout = 30,
  }
  if call then
    if not call:dial(announcement, { timeout = 5 }) then call:hangup() end
    return
  end
  sip.log.info("room %s: not awake (%d %s), try %d", order.room, result.code, result.reason, order.tries)
  if order.tries < most_tries then
    sip.after(again_after, "wake_up", { room = order.room, tries = order.tries + 1 })
    return
  end
  sip.request{ method = "MESSAGE", targets = sip.lookup "reception", timeout = 10,
               body = "Room " .. order.room .. " does not wake up" }
end
