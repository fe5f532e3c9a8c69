-- Least-cost routing: the number's prefix decides which carriers are tried, the cheapest first, and what they get to see.
local sip = require "siphook"

-- ---------------------------------------------------------------- carriers and prices

-- `strip` and `prefix` turn an E.164 number into what the carrier wants to see: for "east", +49301234567 becomes 00049301234567.
local carriers = {
  north = { host = sip.config.north or "10.0.1.1" },
  south = { host = sip.config.south or "10.0.1.2" },
  east  = { host = sip.config.east  or "10.0.1.3", strip = "+", prefix = "000" },
}

-- The longest prefix that fits counts. Cents a minute, for each carrier that goes there.
local prices = {
  ["+"]    = { north = 20,  south = 25 },
  ["+1"]   = { north = 2,   south = 1.5 },
  ["+49"]  = { north = 1,   south = 3, east = 0.8 },
  ["+491"] = { north = 6,   east = 9 },          -- mobile telephones
  ["+882"] = {},                                 -- satellite: nobody may
}

local function routes(number)
  for length = #number, 1, -1 do
    local by_carrier = prices[number:sub(1, length)]
    if by_carrier then
      local list = {}
      for name, price in pairs(by_carrier) do list[#list + 1] = { name = name, price = price } end
      table.sort(list, function(a, b) return a.price < b.price end)
      return list
    end
  end
  return {}
end

-- ---------------------------------------------------------------- calls

-- The carrier's fault, so the next one is asked; whatever else is the answer of the called person.
local next_carrier = { unreachable = true, failed = true, rejected = true }

-- +49 30 12-34, 0049..., a number of this country: all to one form.
local function e164(dialled)
  local digits = dialled:gsub("[ %-%.()]", "")
  digits = digits:gsub("^00", "+"):gsub("^0", "+" .. (sip.config.country or "49"))
  return digits:match "^%+%d+$"
end

sip.on.invite(function(call)
  local number = e164(call.uri.user or "")
  if not number then return call:reject(484) end

  local list = routes(number)
  if #list == 0 then return call:reject(403, "No route to this destination") end

  local result
  for _, route in ipairs(list) do
    local carrier = carriers[route.name]
    local shown = number
    if carrier.strip then shown = carrier.prefix .. number:sub(#carrier.strip + 1) end
    local leg
    leg, result = call:fork({ uri = "sip:" .. shown .. "@" .. carrier.host, pai = call.from }, { first_timeout = 2 })
    if leg then
      sip.log.info("%s by %s at %g cents", number, route.name, route.price)
      return call:bridge(leg)
    end
    if not next_carrier[result.cause] then break end
  end
  call:reject(result)
end)
