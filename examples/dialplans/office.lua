-- A small office: telephones with names and extensions, a registrar, calls and text messages between them, opening hours, a mailbox, pick-up and
-- transfers.
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

-- What the host gives with `-o config.KEY=VALUE` stands in sip.config. `a or b` is b when there is no a.
local realm     = sip.config.realm or "office"                  -- the name that phones show when they ask for a password
local ring_time = tonumber(sip.config.ring_time or "20")        -- seconds until nobody answers

-- User names and passwords. `-o config.user.carol=secret` adds a user or changes a password.
local passwords = {
  alice = "wonder",
  bob   = "builder",
}
for key, value in pairs(sip.config) do
  local name = key:match "^user%.(.+)$"
  if name then passwords[name] = value end
end

-- Extensions, for telephones that have digits only. `-o config.extension.300=carol` adds one.
local extensions = { ["100"] = "alice", ["200"] = "bob" }
for key, value in pairs(sip.config) do
  local number = key:match "^extension%.(%d+)$"
  if number then extensions[number] = value end
end

-- Where calls go that nobody takes (`-o config.mailbox=sip:mail@10.0.0.9`; without it the caller hears so), and the hours at which phones ring at all
-- (`-o config.hours=9-17`, Monday to Friday; without it always).
local mailbox = sip.config.mailbox
local opens, closes = (sip.config.hours or ""):match "^(%d+)%-(%d+)$"

local function is_open()
  if not opens then return true end
  local now = os.date "*t"
  return now.wday > 1 and now.wday < 7 and now.hour >= tonumber(opens) and now.hour < tonumber(closes)
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

-- The call that rings for the longest time, for whoever dials *8.
local function ringing_call(own)
  local longest
  for _, other in ipairs(sip.calls()) do
    local rings = other.id ~= own and (other.state == "setup" or other.state == "early")
    if rings and (not longest or other.age > longest.age) then longest = other end
  end
  return longest
end

sip.on.invite(function(call)
  local caller = who(call)
  if not caller then return end

  -- Somebody completes a transfer, or takes over a call that another phone shows as ringing (RFC 3891).
  if call.replaces then return call:pickup() end

  local dialled = call.uri.user                  -- "bob" of sip:bob@office.example
  if dialled == "*8" then
    local other = ringing_call(call.id)
    if not other then return call:reject(480, "Nothing rings") end
    sip.log.info("%s takes the call for %s", caller, other.to.user or "?")
    return call:pickup(other.id)
  end

  local name = extensions[dialled] or dialled
  if not name or not passwords[name] then
    return call:reject(404, "Nobody has this name")
  end
  sip.log.info("%s calls %s", caller, name)

  -- All phones that are registered under that name ring together; whoever answers first has the call. From here on the
  -- hook waits, while siphook looks after all the others.
  local phones = is_open() and sip.lookup(name) or {}
  if #phones == 0 and not mailbox then
    return call:reject(480, "Nobody is there")
  end
  local leg, result = call:fork(phones, { timeout = ring_time })

  -- The mailbox hears who was called. Whoever declines wants no mailbox either.
  if not leg and mailbox and result.cause ~= "declined" then
    leg, result = call:fork({ uri = mailbox, diversion = call.uri }, { timeout = 10 })
  end

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

-- A transfer: the telephone's other party is sent to somebody else. accept() does all of it, and tells the telephone how it went.
sip.on.refer(function(ref)
  ref:accept{ timeout = 30 }
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
