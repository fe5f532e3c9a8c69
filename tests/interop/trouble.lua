-- A dial plan that a user breaks and mends.
local sip = require "siphook"

sip.domains { "example.org" }

sip.on.invite(function(call)
  if call.uri.user == "loop" then
    while true do end
  end
  local port = call.uri.user:match("^bob%-(%d+)%-udp$")
  local leg, res = call:fork(port and { "sip:bob@127.0.0.1:" .. port } or {}, { timeout = 10 })
  if not leg then return call:reject(res) end
  call:bridge(leg)
end)
