-- The dial plan of three phones that hold calls and transfer them.
local sip = require "siphook"

local passwords = { alice = "wonder", bob = "builder", carol = "singer" }

sip.domains { "example.org" }

sip.on.register(function(req)
  local user = req:auth { realm = "example.org", algorithms = { "MD5" }, password = function(u) return passwords[u] end }
  if not user then return end
  if user ~= req.to.user then return req:reply(403) end
  req:register { min_expires = 60, max_contacts = 1, on_limit = "replace" }
end)

sip.on.invite(function(call)
  local user = call:auth { realm = "example.org", algorithms = { "MD5" }, password = function(u) return passwords[u] end }
  if not user then return end
  local ok, res = call:dial(sip.lookup("sip:" .. call.uri.user .. "@example.org"), { timeout = 20 })
  if not ok then call:reject(res) end
end)

sip.on.refer(function(ref)
  local ok, res = ref:accept { targets = sip.lookup("sip:" .. ref.target.user .. "@example.org"), timeout = 20 }
  local kind = ref.replaces and "attended" or "blind"
  sip.log.info("%s transfer to %s: %s", kind, ref.target.user, ok and "done" or res.code)
end)

sip.on.reinvite(function(req)
  local sdp = req.body or ""
  sip.log.info("re-INVITE: %s", sdp:match("a=(sendonly)") or sdp:match("a=(inactive)") or "sendrecv")
end)

-- What a phone would say in Replaces of its dialog with us.
sip.on.answer(function(call)
  for name, leg in pairs { a = call.a, b = call.b } do
    local replaces = string.format("%s;to-tag=%s;from-tag=%s", leg.call_id, leg.local_tag, leg.remote_tag)
    sip.log.info("dialog %s of %s: %s.", name, call.uri.user, replaces)
  end
end)
sip.on.hangup(function(call, why) sip.log.info("call to %s ended by %s", call.uri.user, why.by) end)
