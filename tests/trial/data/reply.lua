-- Answers calls with the verb of all requests; the user that is called says how.
local sip = require "siphook"

local how = {}

function how.failure(call) call:reply(486, "Out to lunch", { headers = { ["X-Back"] = "14:00" }, body = "soon" }) end

function how.answer(call)
  local sdp = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
  call:reply(183, { headers = { ["X-Step"] = 1 } })
  call:reply(200, { body = sdp })
  assert(call.state == "up")
end

function how.pass(call)
  local res = call:pass{ headers = { ["X-Any"] = 1 } }
  sip.shared("seen"):set("pass", res.code .. " " .. res.cause)
end

function how.wrong(call)
  local ok, e = pcall(call.reply, call, 700)
  call:reply(ok and 500 or 480, e:match "101 to 699" and "named" or e)
end

sip.on.invite(function(call) how[call.uri.user](call) end)
