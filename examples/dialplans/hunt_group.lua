-- A hunt group: one phone after the other, then all together, then the mailbox.
local sip = require "siphook"

-- In the order in which they are tried. The addresses may as well be names that have registered: see members().
local group = { "sip:desk1@10.0.0.3", "sip:desk2@10.0.0.4" }
local mailbox = sip.config.mailbox or "sip:mail@10.0.0.5"

-- A counter that all workers share and that a reload does not forget: whose turn it is.
local state = sip.shared "hunt"

-- The group, beginning with another phone each time.
local function members()
  local turn, list = state:incr("turn", 1), {}
  for i = 1, #group do
    list[i] = group[(turn + i - 2) % #group + 1]
  end
  return list
end

sip.on.invite(function(call)
  if call.uri.user ~= "hunt" then return call:reject(404) end

  -- Step 1: one after the other, five seconds each. A list of lists is tried group after group.
  local one_by_one = {}
  for i, phone in ipairs(members()) do one_by_one[i] = { phone } end
  local leg, result = call:fork(one_by_one, { timeout = 5 })

  -- Step 2: all together. Who has declined, has: that is for all of them ("603" ends it).
  if not leg and result.cause ~= "declined" then
    leg, result = call:fork(group, { timeout = 15 })
  end

  -- Step 3: the mailbox is told who was called (Diversion).
  if not leg and result.cause ~= "declined" then
    leg, result = call:fork({ uri = mailbox, diversion = call.uri }, { timeout = 10 })
  end

  if not leg then return call:reject(result) end
  call:bridge(leg)
end)
