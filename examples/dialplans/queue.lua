-- A queue: callers wait with music from a media server elsewhere until an agent is free. After a while, or with the key 1, they get
-- the mailbox. The queue survives a reload of this file: what belongs to a caller is in call.data.
local sip = require "siphook"

sip.domains{ "example.org" }

local agents   = { "anna", "ben" }                          -- registered phones, the first one that is free
local music    = sip.config.music or "sip:music@10.0.0.5"   -- plays as long as it is called
local mailbox  = sip.config.mailbox or "sip:mail@10.0.0.6"
local patience = 120                                        -- seconds
local places   = 20

sip.on.register(function(req) req:register() end)           -- a real one asks for a password: see office.lua

sip.on.invite(function(call)
  if call.uri.user ~= "support" then return call:reject(404) end
  if not call:limit("queue", places) then return call:reject(486, "All lines are busy") end

  call:answer()
  local leg = call:fork(music, { timeout = 5 })
  -- If the music ends the caller stays; without it there is silence.
  if leg then call:bridge(leg, { on_peer_hangup = "continue" }) end

  call.data.until_ = sip.now() + patience
  call:continue "queue"
end)

local function to_mailbox(call)
  if not call:dial(mailbox, { timeout = 10 }) then call:hangup{ q850 = 17, reason = "Nobody has time" } end
end

-- One round: each agent for ten seconds, then five seconds of music in which the caller may press a key.
sip.timer.queue = function(call)
  for _, agent in ipairs(agents) do
    local leg = call:fork(sip.lookup(agent), { timeout = 10, headers = { ["X-Waited"] = math.floor(call.duration) } })
    if leg and call:bridge(leg) then
      sip.log.info("%s has %s after %.0f s", agent, tostring(call.from), call.duration)
      return
    end
  end
  local key = call:wait("dtmf", 5)
  if (key and key.signal == "1") or sip.now() > call.data.until_ then return to_mailbox(call) end
  call:continue "queue"
end

sip.on.hangup(function(call, why)
  sip.log.info("queue: %s waited and talked %.0f s, ended by the %s", tostring(call.from), call.duration, why.by)
end)
