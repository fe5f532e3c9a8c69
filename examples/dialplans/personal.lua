-- What each user wants stands behind a web server, as JSON: phones that ring together, what comes when nobody answers, who may not
-- disturb.
--
--     GET http://settings.example/users/bob
--     { "ring": ["bob", "sip:+491715550@gw.example.net"], "seconds": 20, "then": "sip:mail@10.0.0.9",
--       "blocked": ["+4930666"], "busy": false }
local sip = require "siphook"

local base = sip.config.settings or "http://settings.example/users/"

-- What was read counts for a minute, and longer when the server is away.
local kept = sip.shared "settings"

local nothing = { ring = {}, seconds = 20, blocked = {} }

local function settings(user)
  local fresh = kept:get("fresh:" .. user)
  if fresh then return sip.json.decode(fresh) end

  local response, why = sip.http.get(base .. sip.http.escape(user), { timeout = 2 })
  if response and response.status == 404 then return nil end
  local value = response and response.status == 200 and sip.json.decode(response.body)
  if type(value) == "table" then
    kept:set("fresh:" .. user, response.body, { ttl = 60 })
    kept:set("last:" .. user, response.body)
    return value
  end

  sip.log.warn("settings of %s: %s", user, why or response and response.status)
  local last = kept:get("last:" .. user)
  if last then return sip.json.decode(last) end
  return nothing
end

local function has(list, value)
  for _, item in ipairs(list or {}) do
    if item == value then return true end
  end
  return false
end

-- A word is somebody who has registered here, with all the phones; anything else is a URI.
local function targets(user, list)
  local out = {}
  for _, entry in ipairs(#list > 0 and list or { user }) do
    if entry:find ":" then
      out[#out + 1] = entry
    else
      for _, phone in ipairs(sip.lookup(entry)) do out[#out + 1] = phone end
    end
  end
  return out
end

sip.on.register(function(req)
  req:register()                 -- a closed network: without a password
end)

sip.on.invite(function(call)
  local user = call.uri.user or ""
  local wish = settings(user)
  if not wish then return call:reject(404) end
  if has(wish.blocked, call.from.user) then return call:reject(603) end
  if wish.busy == true then return call:reject(486) end

  local leg, result = call:fork(targets(user, wish.ring or {}), { timeout = wish.seconds or 20 })
  if not leg and wish["then"] and result.cause ~= "declined" then
    leg, result = call:fork({ uri = wish["then"], diversion = call.uri }, { timeout = 30 })
  end
  if not leg then return call:reject(result) end
  call:bridge(leg)
end)
