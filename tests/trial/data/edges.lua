-- What verbs answer when they come too early, too late or twice; what a hook leaves behind.
local sip = require "siphook"

local seen = sip.shared "seen"
local function note(name, ...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
  seen:set(name, table.concat(words, " "))
end

local function guard(name)
  return setmetatable({}, { __close = function() note(name, (pcall(sip.sleep, 1))) end })
end

local numbers = {}

function numbers.up(call)
  call:answer()
  note("answer", (select(2, call:answer())))
  note("ring", (select(2, call:ring())))
  note("reject", (select(2, call:reject(486))))
  note("redirect", (select(2, call:redirect "sip:a@b")))
  note("reply", (select(2, call:reply(200))))
end

function numbers.early(call)
  note("transfer", (select(2, call:transfer "sip:a@b")))
  call:reject(480)
end

function numbers.signals(call)
  for i = 1, 64 do assert(call:signal("next", i)) end
  note("signal", (select(2, call:signal("next", 65))))
  call:reject(480)
end

function numbers.twice(call)
  local leg = call:fork "sip:bob@10.0.0.2"
  call:bridge(leg)
  note("again", call:bridge(leg, { max_duration = 10 }))
end

sip.timer.later = function(call) call:reject(480) end
function numbers.continue(call)
  call:fork "sip:bob@10.0.0.2"
  call:continue "later"
end

function numbers.rethrown()
  local _ <close> = guard "rethrown"
  local caught, e = pcall(sip.sleep, 60)
  assert(not caught)
  error(e, 0)
end

function numbers.asserted()
  local _, e = pcall(function()
    local _ <close> = guard "inside"
    assert(pcall(sip.sleep, 60))
  end)
  note("caught", sip.is_cancel(e), pcall(sip.sleep, 1))
  local _ <close> = guard "outside"
  error(e)
end

function numbers.relay(call)
  local res, why = call:relay("sip:bob@10.0.0.2", { timeout = 5 })
  note("relay", res, why, res and #res.branches, res and res.branches[1].reason)
end

function numbers.nobody(call) note("nobody", call:relay{}) end

function numbers.replaces(call)
  local ids = { call_id = "a", to_tag = "b", from_tag = "c" }
  local _, res = call:dial("sip:bob@10.0.0.2", { replaces = ids })
  call:dial("sip:bob@10.0.0.2", { replaces = "d;to-tag=e;from-tag=f", headers = { ["X-Code"] = res.code } })
end

function numbers.waits(call)
  call:answer()
  note("message", call:wait("message", 5).body)
end

function numbers.branches(call)
  local _, res = call:fork{ "sip:bob@10.0.0.2", "sip:carol@10.0.0.3" }
  note("branches", res.branches[1].code, res.branches[2].code, res.branches[2].reason)
  call:reject(res)
end

sip.on.invite(function(call) numbers[call.uri.user](call) end)

sip.on.info(function(req)
  req:reply(200)
  sip.spawn(function()
    local call = sip.originate{ first = "sip:bob@10.0.0.2" }
    call:dial "sip:carol@10.0.0.3"
  end)
end)

sip.on.message(function(req)
  if req.call then return end
  local res = req:relay("sip:bob@10.0.0.2")
  note("won", res.branches[1].code, res.branches[1].reason)
end)

sip.on.refer(function(ref)
  note("notify", (select(2, ref:notify(180))))
  ref:reject(403)
end)

sip.on.subscribe(function(sub)
  note("sub", (select(2, sub:notify("text/plain", "x"))), (select(2, sub:terminate())))
  sub:reject(403)
end)

sip.on.sdp(function() error "on purpose" end)

sip.on.load(function()
  local ok, e = pcall(function() return "to " .. sip.uri "sip:a@b" end)
  assert(not ok and e:find("tostring%(uri%)"), e)
end)

sip.on.options(function(req)
  note("name", pcall(function() sip.mine = 1 end))
  note("field", pcall(function() req.mine = 1 end))
  req:reply(200)
end)
