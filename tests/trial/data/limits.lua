-- Runs what a MESSAGE brings.
local sip = require "siphook"

sip.timer.x = print

sip.on.message(function(req)
  load("local sip, req = ... " .. req.body, "=body")(sip, req)
  req:reply(202)
end)
