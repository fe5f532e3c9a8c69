-- Two domains whose users have the same names.
local sip = require "siphook"
sip.domains{ "example.org", "example.com" }

sip.on.register(function(req) req:register{} end)
sip.on.invite(function(call) call:dial(sip.lookup(call.uri)) end)
