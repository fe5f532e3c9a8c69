local sip = require "siphook"
local trunk = sip.trunk{ name = "silent", uri = "sip:10.0.0.2", qualify = 30 }
sip.trunk{ name = "nobody", uri = "sip:10.0.0.3", register = true, auth = { user = "me", password = "x" }, qualify = 10 }
sip.every(20, function() sip.request{ method = "OPTIONS", uri = "sip:10.0.0.2" } end)
sip.on.invite(function(call) call:dial(trunk) end)
