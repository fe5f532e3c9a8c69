-- The dial plan of door.py.
local sip = require "siphook"

sip.acl { rate = 20, burst = 40, max_failures = 5, failure_window = 60, ban_time = 3 }

sip.on.register(function(req)
  local name = req:auth { realm = "example.org", algorithms = { "MD5" }, password = function(u) return u == "100" and "s3cret" or nil end }
  if name then req:register() end
end)
