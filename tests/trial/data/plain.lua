-- What a dial plan may do with what it is given, taken at its word.
local sip = require "siphook"
local said = sip.shared("said")
local plans = {}

local function note(key, line)
  local before = said:get(key)
  said:set(key, before and before .. "\n" .. line or line)
end

function plans.result(call)
  local _, res = call:fork{ "sip:bob@10.0.0.2" }
  local keys = {}
  for key in pairs(res) do keys[#keys + 1] = tostring(key) end
  said:set("keys", table.concat(keys, " "))
  said:set("next", type(next(res, "reason")))
  said:set("json", sip.json.encode(res))
  said:set("why", res["X-Why"])
  call:reject(res)
end

function plans.branches(call)
  local leg, res = call:fork({ "sip:bob@10.0.0.2" }, { on_branch = function(leg, event)
    note("events", ("%s %s %s"):format(event, leg.uri.user, leg.state))
  end })
  if not leg then call:reject(res) end
end

function plans.raises(call)
  call:fork({ "sip:bob@10.0.0.2" }, { on_branch = function() error "on purpose" end })
end

function plans.ended(call)
  local leg = call:fork{ "sip:bob@10.0.0.2" }
  leg:hangup()
  sip.sleep(1)
  said:set("state", leg.state)
  said:set("code", tostring(leg.code))
  call:reject(486)
end

function plans.hangup(call)
  call:answer()
  sip.sleep(1)
  call:hangup(486)
end

function plans.record(call) call:dial{ "sip:bob@10.0.0.2" } end

sip.on.hangup(function(call, why)
  note("over", ("%s %s by %s, cause %s %s"):format(call.a and call.a.uri.user, call.b and call.b.uri, why.by, why.q850, why.q850_name))
  sip.sleep(5)
  note("over", ("%s %s %s"):format(call.a.state, call.a.uri.user, call.state))
end)

function plans.stay(call)
  sip.spawn(function() sip.sleep(50) end)
  call:reject(480)
end

function plans.wrong(call)
  local function try(fn, ...)
    local ok, err = pcall(fn, ...)
    note("errors", ok and "no error" or (tostring(err):gsub("^.-%.lua:%d+: ", "")))
  end
  for _, name in ipairs{ "Via", "f", "Proxy-Authorization" } do
    try(function() call:fork({ "sip:bob@10.0.0.2" }, { copy = { "X-Account", name } }) end)
  end
  try(function() call:auth{ realm = "r", password = function() end, ha1 = function() end } end)
  try(function() call:redirect() end)
  try(function() sip.on.invite = function() end end)
  said:set("v6", tostring(sip.uri{ user = "bob", host = "2001:db8::1", port = 5070 }))
  said:set("v6 with", tostring(sip.uri("sip:bob@10.0.0.2"):with{ host = "::1" }))
  said:set("v6 bare", tostring(sip.uri{ user = "bob", host = "[::1]" }))
  call:reject(486)
end

sip.on.invite(function(call) plans[call.uri.user](call) end)
sip.on.bye(function(req) said:set("bye", req.call.id) end)
sip.on.prack(function(req) said:set("prack", req.call.id) end)
