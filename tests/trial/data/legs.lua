-- Hangs up legs of calls; the user that is called says which.
local sip = require "siphook"

local how = {}

function how.counted(call) call:limit("key", 5) call:answer() end
function how.alone(call) call:answer() call.a:hangup() end
function how.partner(call) call:dial "sip:bob@10.0.0.2" call.b:hangup() end
function how.caller(call) call:dial "sip:bob@10.0.0.2" call.a:hangup() end
function how.ringing(call) call:ring() call.a:hangup() end

function how.typo(call)
  local ok, e = pcall(call.dial, call, { url = "sip:bob@10.0.0.2" })
  call:reject(480, not ok and e:match "option 'uri' of a target is missing %(there is 'url'%)" and "named" or "not named")
end

sip.on.invite(function(call) how[call.uri.user](call) end)

sip.on.hangup(function(_, why) sip.shared("ends"):set("by", why.by .. " " .. why.code) end)
