-- A small office: two telephones, a registrar, calls and text messages between them.
--
-- A dial plan is a file in Lua. It is read once, from top to bottom, when siphook starts or reloads; what it leaves behind
-- are functions ("hooks") that siphook calls later: one kind of request, one hook. A line that begins with two
-- hyphens, like this one, is a comment.
--
--     siphook run -l udp://0.0.0.0:5060 -l tcp://0.0.0.0:5060 examples/dialplans/office.lua
--
-- Change something, then type `siphook reload`: the next call follows the new plan, the calls that are up stay up, and a
-- plan with a mistake is refused.

local sip = require "siphook"

-- ---------------------------------------------------------------- who is who

-- What the host gives with `-o KEY=VALUE` stands in sip.config. `a or b` is b when there is no a.
local realm     = sip.config.realm or "office"                  -- the name that phones show when they ask for a password
local ring_time = tonumber(sip.config.ring_time or "20")        -- seconds until nobody answers

-- User names and passwords. `-o user.carol=secret` adds a user or changes a password.
local passwords = {
  alice = "wonder",
  bob   = "builder",
}
for key, value in pairs(sip.config) do
  local name = key:match "^user%.(.+)$"
  if name then passwords[name] = value end
end

-- Names under which this server is known, beside its addresses, which are always its own.
if sip.config.domain then sip.domains{ sip.config.domain } end

-- Proves who sends a request, with the digest authentication that every phone knows. Gives the user's name, or
-- nothing: then the phone has been asked for its password (or for the right one), and the hook has nothing left to do. The
-- phone comes again with the answer, and the hook runs from its beginning.
local function who(request)
  return request:auth{
    realm = realm,
    algorithms = { "MD5" },  -- what every phone can do; some (baresip 1.0) give up when SHA-256 is offered beside it
    password = function(name) return passwords[name] end,
  }
end

-- ---------------------------------------------------------------- phones say where they are

sip.on.register(function(req)
  local user = who(req)
  if not user then return end

  -- Everybody may register the own name only.
  if user ~= req.to.user then
    return req:reply(403, "This is not your name")
  end

  -- Stores the phone's address and answers. A phone has to come back within the hour; five phones may share a name.
  req:register{ min_expires = 60, max_expires = 3600, max_contacts = 5 }
end)

-- ---------------------------------------------------------------- somebody calls

sip.on.invite(function(call)
  local caller = who(call)
  if not caller then return end

  local name = call.uri.user                     -- what was dialled: "bob" of sip:bob@office.example
  if not name or not passwords[name] then
    return call:reject(404, "Nobody has this name")
  end
  sip.log.info("%s calls %s", caller, name)

  -- All phones that are registered under that name ring together; whoever answers first has the call. From here on the
  -- hook waits, while siphook looks after all the others.
  local phones = sip.lookup(call.uri)
  if #phones == 0 then
    return call:reject(480, "Nobody is there")
  end
  local leg, result = call:fork(phones, { timeout = ring_time })

  if not leg then
    -- The result says in one word what happened: "busy", "declined", "no_answer", "unreachable", ...
    if result.cause == "no_answer" or result.cause == "unreachable" then
      return call:reject(480, "No answer")
    end
    return call:reject(result)                   -- what the phone said, passed on: busy, declined, ...
  end

  -- Answers the caller and joins the two. The hook is over then; the call goes on without it.
  call:bridge(leg)
end)

-- A call is over, however it ended: why.by is "caller", "callee", "script" or "engine".
sip.on.hangup(function(call, why)
  sip.log.info("%s -> %s: ended by the %s after %.0f seconds (%d %s)",
    call.from.user or "?", call.uri.user or "?", why.by, call.duration, why.code, why.reason)
end)

-- ---------------------------------------------------------------- text messages

sip.on.message(function(req)
  if not who(req) then return end

  -- To all phones of that name at once. The first that takes the message answers for all; that answer goes back when this hook
  -- ends.
  local result, why = req:relay(sip.lookup(req.uri), { timeout = 10 })
  if why == "empty" then
    req:reply(404, "Nobody is there")
  elseif result.cause == "no_answer" then
    -- To requests other than calls silence is no answer (RFC 4320), so that we give none either.
    sip.log.warn("no phone of %s took the message", req.uri.user or "?")
  end
end)

-- ---------------------------------------------------------------- are you there?

-- Phones and providers ask with OPTIONS whether somebody listens. pass() is what siphook does by itself: 200, and what it
-- can do. A hook that only does that could as well be left out; it is here to be changed.
sip.on.options(function(req)
  req:pass()
end)
