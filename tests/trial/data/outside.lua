local sip = require "siphook"
local users, counts, queue = sip.shared "users", sip.shared "counts", sip.shared "queue"

counts:set("limit", 1)                                   -- the record knows better
counts:set("open", true, { ttl = 3600 })

sip.after(0, function() sip.http.get "https://status.example.net/" end)

local function who(request)
  if sip.config.ha1 then
    return request:auth{ realm = "example.org", ha1 = function(name) return users:get("ha1:" .. name) end }
  end
  return request:auth{ realm = "example.org", password = function(name) return users:get("pw:" .. name) end }
end

sip.on.register(function(req)
  if who(req) then req:register() end
end)

-- Where a number goes: asked until the server is ready.
local function route(number)
  for _ = 1, 3 do
    local answer, why = sip.http.get((sip.config.routes or "https://key:word@routes.example.net/") .. sip.http.escape(number), { user = "me", password = "hidden" })
    if not answer then return nil, why end
    if answer.status == 200 then return sip.json.decode(answer.body).gateway, answer.headers["X-Trunk"] end
    sip.sleep(0.5)
  end
end

sip.on.invite(function(call)
  if not who(call) then return end
  local n = counts:incr "calls"
  if n > counts:get "limit" or not counts:get "open" then return call:reject(486) end
  local first, second = queue:pop "gateways", queue:pop "gateways"
  local gateway, trunk = route(call.uri.user)
  local blocked = sip.http.post("https://block.example.net/ask", "number=" .. call.uri.user)
  if blocked then return call:reject(403) end
  if not gateway then return call:reject(404) end
  local leg, res = call:fork({ ("sip:%s@%s"):format(call.uri.user, gateway == "second" and second or first) },
    { headers = { ["X-Trunk"] = trunk, ["X-Share"] = tostring(counts:get "share"), ["X-Call"] = tostring(n) } })
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)

sip.on.hangup(function(call)
  sip.http.post("https://bill.example.net/", sip.json.encode{ calls = counts:get "calls", to = call.uri.user })
end)
