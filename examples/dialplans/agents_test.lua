local t = require "siphook.test"

local function house(config)
  local plan = t.load("agents.lua", { config = config })
  local agents = {}
  for i, name in ipairs{ "anna", "ben" } do
    agents[i] = plan:phone(name)
    agents[i]:register()
    agents[i]:invite("*1"):expect(480, { reason = "in the queue" })
  end
  return plan, agents[1], agents[2]
end

t.case("a caller gets a free agent, the next one another", function()
  local plan, anna, ben = house()
  local first, second = plan:phone "first", plan:phone "second"
  local one = first:invite "600"
  one:expect(182, { ["X-Place"] = "1" })
  anna:expect("INVITE"):answer()
  one:expect(200):ack()
  local two = second:invite "600"
  ben:expect("INVITE"):answer()
  two:expect(200):ack()
  t.equal(plan:shared("queue"):get "served", 2)
end)

t.case("who comes when all talk waits until somebody is free", function()
  local plan, anna, ben = house()
  local calls = {}
  for i, agent in ipairs{ anna, ben } do
    calls[i] = plan:phone("caller" .. i):invite "600"
    agent:expect("INVITE"):answer()
    calls[i]:expect(200):ack()
  end
  local late = plan:phone("late"):invite "600"
  late:expect(182)
  plan:advance(30)
  late:expect_none(200, 0)
  calls[2]:bye():expect(200)
  plan:advance(1)
  ben:expect("INVITE"):answer()
  late:expect(200):ack()
end)

t.case("an agent who does not answer is left out", function()
  local plan, anna, ben = house()
  local out = plan:phone("alice"):invite "600"
  anna:expect("INVITE"):ring()
  plan:advance(15)
  anna:expect "CANCEL"
  ben:expect("INVITE"):answer()
  out:expect(200):ack()
  plan:expect_log "agent anna does not answer"
  t.is_nil(plan:shared("agents"):get "anna")
end)

t.case("a caller who gives up leaves no place behind", function()
  local plan, anna, ben = house()
  anna:invite("*0"):expect(480)
  ben:invite("*0"):expect(480)
  local out = plan:phone("alice"):invite "600"
  out:expect(182)
  plan:advance(5)
  out:cancel()
  out:expect(487)
  t.equal(plan:shared("queue"):get "length", 0)
end)

t.case("the queue has an end, in places and in time", function()
  local plan, anna, ben = house{ places = 1, longest = 60 }
  anna:invite "*0"
  ben:invite "*0"
  plan:advance(1)
  local out = plan:phone("alice"):invite "600"
  out:expect(182)
  plan:phone("zoe"):invite("600"):expect(486, { reason = "full" })
  plan:advance(60)
  out:expect(480, { reason = "busy" })
end)
