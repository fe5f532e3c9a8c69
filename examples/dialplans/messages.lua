-- Text messages: to all phones of a user at once, and kept for those who are not there, until they register again.
local sip = require "siphook"

local longest = 20                                   -- messages that are kept for one user
local days = tonumber(sip.config.days) or 30         -- and for how long
local passwords = { alice = "wonder", bob = "builder" }

local kept = sip.shared "messages"                   -- a list for each user; survives reloads

local function who(request)
  return request:auth{ realm = "messages", password = function(name) return passwords[name] end }
end

-- One that is put back does not live longer for it.
local function keep(user, message)
  local left = message.expires - os.time()
  if left <= 0 or kept:len(user) >= longest then return false end
  return kept:push(user, sip.json.encode(message), { ttl = left }) ~= nil
end

-- Sends what is kept for a user, oldest first, until one does not get through. Only one delivery at a time for each user.
local function deliver(user)
  if not kept:add("delivering:" .. user, true, { ttl = 60 }) then return end
  local text = kept:pop(user)
  while text do
    local message = sip.json.decode(text)
    local answer = sip.request{
      method = "MESSAGE", targets = sip.lookup(user), from = message.from, body = message.body, content_type = message.type,
      headers = { Date = message.date }, timeout = 10,
    }
    if answer.code >= 300 then
      keep(user, message)                            -- at the end of the list: better late than never
      break
    end
    text = kept:pop(user)
  end
  kept:delete("delivering:" .. user)
end

sip.on.register(function(req)
  local user = who(req)
  if not user then return end
  if user ~= req.to.user then return req:reply(403) end
  req:register()
end)

-- A phone has come: what was kept goes to it.
sip.on.binding(function(aor, _, event)
  local user = sip.uri(aor).user
  if event == "added" and kept:len(user) > 0 then sip.spawn(deliver, user) end
end)

sip.on.message(function(req)
  local sender = who(req)
  if not sender then return end
  local user = req.uri.user
  if not passwords[user] then return req:reply(404) end

  local result, why = req:relay(sip.lookup(user), { timeout = 10 })
  local answered = result and result.cause ~= "no_answer" and result.cause ~= "unreachable"
  if answered and result.code < 500 then return end                 -- what the phone said is passed on

  local message = { from = "sip:" .. sender .. "@" .. req.from.host, body = req.body or "", type = req.content_type,
                    date = os.date("!%a, %d %b %Y %H:%M:%S GMT"), expires = os.time() + days * 86400 }
  if keep(user, message) then
    sip.log.info("message for %s kept (%s)", user, why or result.cause)
    req:reply(202)
  else
    req:reply(480, "Mailbox full")
  end
end)
