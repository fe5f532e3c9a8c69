-- Tells callers where to call instead, and is out of the way then: for a move of numbers, or many servers behind one name.
local sip = require "siphook"

-- Old number = new address. One entry with several: the caller tries them in the order of their q.
local moved = {
  ["100"] = "sip:reception@example.org",
  ["200"] = {
    { uri = "sip:sales@example.org",  q = 1.0 },
    { uri = "sip:sales2@example.org", q = 0.5 },
  },
}

sip.on.invite(function(call)
  local target = moved[call.uri.user]

  if target then
    return call:redirect(target, 301)            -- 301: moved for good
  end

  -- Whoever has registered here is called directly.
  local phones = sip.lookup(call.uri)
  if #phones > 0 then
    return call:redirect(phones)                 -- 302: for now
  end

  -- All others keep their name, and get our new domain.
  call:redirect(call.uri:with{ host = "new.example.org", port = false })
end)

sip.on.register(function(req)
  req:register()                 -- without a password: for a closed network only
end)
