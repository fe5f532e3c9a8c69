-- A queue: callers wait until one of the agents is free. Agents enter with *1 and leave with *0.
local sip = require "siphook"

local longest = tonumber(sip.config.longest or "300")   -- seconds that a caller waits at most
local ring    = tonumber(sip.config.ring or "15")       -- seconds that one agent's phone rings
local places  = tonumber(sip.config.places or "10")     -- callers in the queue at most

local agents = sip.shared "agents"     -- name = "free" or "busy"
local queue  = sip.shared "queue"      -- "length", "served"

sip.on.register(function(req)
  req:register()                       -- a closed network: without a password
end)

-- ---------------------------------------------------------------- agents

local function login(call, free)
  local name = call.from.user
  if free then agents:set(name, "free") else agents:delete(name) end
  sip.log.info("agent %s %s", name, free and "is here" or "has gone")
  call:reject(480, free and "You are in the queue" or "You have left the queue")
end

-- A free agent is taken in one step: add() fails when another caller was faster.
local function take_agent()
  for _, name in ipairs(agents:keys()) do
    if not name:find "^busy:" and agents:add("busy:" .. name, true, { ttl = longest + 7200 }) then return name end
  end
end

local function give_back(name)
  agents:delete("busy:" .. name)
end

-- ---------------------------------------------------------------- callers

-- Tries agents until one answers. nil: the time is over.
local function find_agent(call, stop)
  while sip.now() < stop do
    local name = take_agent()
    if name then
      local leg = call:fork(sip.lookup(name), { timeout = ring })
      if leg then return leg, name end
      give_back(name)
      sip.log.info("agent %s does not answer", name)
      agents:delete(name)                                -- who does not answer has gone
    else
      sip.sleep(1)
    end
  end
end

local function wait_in_queue(call)
  if queue:incr("length", 1) > places then
    queue:incr("length", -1)
    return call:reject(486, "The queue is full")
  end
  -- Whatever ends this hook, a caller who hangs up included, gives the place back.
  local place <close> = setmetatable({ number = queue:get "length" }, { __close = function() queue:incr("length", -1) end })
  call:ring(182, { headers = { ["X-Place"] = place.number } })

  local leg, name = find_agent(call, sip.now() + longest)
  if not leg then return call:reject(480, "All agents are busy") end
  call.data = { agent = name }
  queue:incr("served", 1)
  call:bridge(leg)
end

sip.on.invite(function(call)
  local number = call.uri.user
  if number == "*1" or number == "*0" then return login(call, number == "*1") end
  if number == "600" then return wait_in_queue(call) end
  call:reject(404)
end)

sip.on.hangup(function(call)
  if call.data.agent then give_back(call.data.agent) end
end)
