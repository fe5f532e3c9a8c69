local sip = require "siphook"
sip.on.register(function(req) req:register() end)
sip.on.binding(function(aor, _, event)
  sip.spawn(function(what) sip.log.info("spawned: %s %s", what, aor) end, event)
end)
