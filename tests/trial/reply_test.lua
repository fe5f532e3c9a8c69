-- A call is answered with the verb of all requests.
local t = require "siphook.test"

local function call(user) return t.load("data/reply.lua"):phone("alice"):invite(user) end

t.case("a failure with a reason, a field and a body", function()
  local res = call("failure"):expect(486)
  t.equal(res.reason, "Out to lunch")
  t.equal(res["X-Back"], "14:00")
  t.equal(res.body, "soon")
end)

t.case("a provisional answer, then 2xx with a body as SDP", function()
  local out = call "answer"
  t.equal(out:expect(183)["X-Step"], "1")
  local answer = out:expect(200)
  t.match(answer.body, "m=audio 4000")
  answer:ack()
  out:bye():expect(200)
end)

t.case("pass is the default", function()
  local plan = t.load "data/reply.lua"
  t.equal(plan:phone("alice"):invite("pass"):expect(404)["X-Any"], "1")
  t.equal(plan:shared("seen"):get "pass", "404 not_found")
end)

t.case("a wrong code is named", function() t.equal(call("wrong"):expect(480).reason, "named") end)
