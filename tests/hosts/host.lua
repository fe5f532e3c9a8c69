-- The dial plan of the host tests: whoever calls is connected to the host's own socket.
local sip = require "siphook"

sip.on.invite(function(call)
	if not sip.config.peer then
		return call:reject(404)
	end
	call:dial({ sip.config.peer })
end)

sip.on.register(function(req)
	local user = req:auth{ realm = "hosts", password = function() return "secret" end }
	if user then
		req:register{}
	end
end)
