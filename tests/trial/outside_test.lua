-- Makes the record that replay is tried out with where a call learns from web servers and shared stores. The environment names its file.
local t = require "siphook.test"

local function load(http, config)
  return t.load("data/outside.lua", {
    config = config,
    shared = {
      users = { ["pw:+4930111"] = "wonder", ["ha1:+4930111"] = t.hash("md5", "+4930111:example.org:wonder"), ["pw:carol"] = "other" },
      counts = { calls = 41, share = 0.25 },
      queue = { gateways = { "10.0.0.1", "10.0.0.2", "10.0.0.3" } },
    },
    http = http,
  })
end

t.case("what a call learns from outside is in its record", function()
  local asked, asks = 0, {}
  local plan = load(function(request)
    asks[#asks + 1] = request.url
    if request.url:find "block" then return { error = "unreachable", delay = 0.1 } end
    if request.url:find "bill" then return { status = 204, delay = 2 } end
    if request.url:find "status" then return "fine" end
    asked = asked + 1
    if asked == 1 then return 503 end
    return { headers = { ["X-Trunk"] = "t\"7", ["X-Word"] = "wonder", ["Set-Cookie"] = { "a=1", "b=2", "c=3" } },
             body = '{"gateway":"second","word":"wonder","said":"a wonder"}', delay = 0.25 }
  end)
  plan:shared("counts"):set("limit", 100)
  local alice, gateway = plan:phone("+4930111", { password = "wonder" }), plan:peer "10.0.0.2"
  plan:record "+4989"
  local out = alice:invite "+498922"
  plan:advance(1)
  local ring = gateway:expect("INVITE", { ["X-Trunk"] = 't"7', ["X-Call"] = "42", ["X-Share"] = "0.25" })
  ring:ring()
  out:expect(180)
  plan:advance(3)
  ring:answer()
  out:expect(200):ack()
  plan:advance(10)
  local again = out:reinvite{ direction = "sendonly" }
  ring:expect("INVITE"):answer()
  again:expect(200):ack()
  plan:advance(10)
  ring:reinvite{ direction = "sendrecv" }
  out:expect("INVITE"):answer()
  ring:expect(200):ack()
  plan:advance(5)
  out:bye()
  ring:expect "BYE"
  plan:expect_http("POST", "https://bill.example.net/")
  plan:advance(1.5)
  t.is_nil(plan:recorded(), "a web server has not answered yet")
  plan:advance(2)
  local text = t.ok(plan:recorded(), "the record")
  local record = t.json.decode(text)
  t.equal(record.cut, false)
  t.equal(#record.http, 4)
  t.equal(record.http[1].url, "https://routes.example.net/%2B498922")
  t.equal(record.http[2].status, 200)
  t.equal(record.http[3].error, "unreachable")
  t.equal(record.http[4].method, "POST")
  t.no_match(text, "hidden")
  t.no_match(text, "key:word")
  t.no_match(text, "status%.example")
  t.no_match(text, "carol")
  t.no_match(text, "wonder")                             -- the password: the caller's digest gives it away
  t.match(record.http[2].body, '"word":"?","said":"a ?"')
  local held = {}
  for _, key in ipairs(record.shared) do held[key.store .. "." .. key.key] = key end
  t.equal(held["users.pw:+4930111"].values, { { text = "?" } })
  t.equal(held["counts.calls"].values, { { integer = 41 } })
  t.equal(held["counts.share"].values, { { float = 0.25 } })
  t.equal(#held["queue.gateways"].values, 3)
  t.equal(held["counts.open"].values, { { boolean = true } })
  t.near(held["counts.open"].left, 3600e6, 1e6)
  local path = os.getenv "SIPHOOK_RECORD"
  if path then
    local file = t.ok(io.open(path, "w"))
    file:write(text)
    file:close()
  end
end)

t.case("a request that nobody waits for any more holds up no record", function()
  local plan = load(function(request) return request.url:find "routes" and { error = "timeout" } or 200 end)
  local alice = plan:phone("+4930111", { password = "wonder" })
  plan:shared("counts"):set("limit", 100)
  plan:record()
  local out = alice:invite "+498922"
  plan:advance(1)
  out:cancel()
  out:expect(487)
  plan:advance(2)
  local record = t.json.decode(t.ok(plan:recorded(), "the record"))
  t.is_nil(record.http[1].took)
  t.equal(record.http[2].status, 200)
end)

t.case("a record has limits, and says that something is missing", function()
  local plan = load(function() return { status = 404, body = ("x"):rep(70000) } end)
  local alice = plan:phone("+4930111", { password = "wonder" })
  plan:shared("counts"):set("limit", 100)
  plan:shared("counts"):set("share", ("y"):rep(70000))
  plan:record()
  alice:invite("+498922"):expect(403, 5)
  plan:advance(3)
  local record = t.json.decode(t.ok(plan:recorded(), "the record"))
  t.equal(record.cut, true)
  t.equal(record.http[1].cut, true)
  t.equal(record.http[1].status, 404)
end)

t.case("octets that are no text are kept", function()
  local plan = load{ ["https://routes.example.net/"] = { status = 200, body = "\0\xff{}" } }
  local alice = plan:phone("+4930111", { password = "wonder" })
  plan:shared("counts"):set("limit", 100)
  plan:record()
  alice:invite("+498922")
  plan:advance(5)
  local record = t.json.decode(t.ok(plan:recorded(), "the record"))
  t.equal(t.base64.decode(record.http[1].body64), "\0\xff{}")
end)

t.case("a hash of a password is hidden too", function()
  local plan = load(nil, { ha1 = "yes" })
  local alice = plan:phone("+4930111", { password = "wonder", algorithm = "MD5" })
  plan:record()
  alice:invite("+498922"):expect(486)
  plan:advance(3)
  local text = t.ok(plan:recorded(), "the record")
  t.match(text, '"ha1:+4930111"')
  t.no_match(text, t.hash("md5", "+4930111:example.org:wonder"))
end)

t.case("a reload and the end of the server do not disturb who records", function()
  local plan = load{ ["https://"] = 404 }
  local alice = plan:phone("+4930111", { password = "wonder" })
  plan:record()
  plan:reload()
  alice:invite("+498922"):expect(486)
  plan:advance(3)
  local record = t.json.decode(t.ok(plan:recorded(), "the record"))
  t.equal(#record.shared, 3)
  t.equal(#record.http, 1)
  alice:invite("+498922"):expect(486)                    -- nobody records
  plan:record()
  alice:invite("+498922"):expect(486)
end)
