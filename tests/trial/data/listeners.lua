-- A dial plan with listeners of its own; the test network has no certificates.
local sip = require "siphook"

sip.listen{ uri = "tls://0.0.0.0:5061" }
sip.listen{ uri = "udp://0.0.0.0:5070" }
sip.listen{ uri = "wss://0.0.0.0:5063" }
sip.listen{ uri = "tcp://0.0.0.0:5071" }

sip.on.invite(function(call) call:reject(486) end)

sip.selftest(function(plan)
  plan:phone("alice"):invite("bob"):expect(486)
end)
