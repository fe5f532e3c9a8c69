-- What a script says in header fields, and what a URI asks for.
local sip = require "siphook"

local ours = { "Server", "User-Agent", "Allow", "Supported", "Allow-Events", "Accept" }
local function words(text)
  local headers = {}
  for _, name in ipairs(ours) do headers[name] = text end
  return headers
end
local nothing = words(false)

local numbers = {}

function numbers.ring(call)
  call:ring(183, { headers = words "mine" })
  call:ring(180, { headers = nothing })
  call:reject(480, { headers = words "mine" })
end

function numbers.answer(call) call:answer{ headers = words "mine" } end

function numbers.fork(call)
  local leg = call:fork("sip:bob@10.0.0.2", { headers = words "mine" })
  call:bridge(leg, { headers = words "mine" })
end

function numbers.bare(call)
  local leg = call:fork("sip:bob@10.0.0.2", { headers = nothing })
  call:bridge(leg, { headers = nothing })
end

function numbers.uri(call)
  local asked = "Subject=hi%20you&Priority=low&X-Any=1&From=x&Call-ID=x&Route=%3Csip:evil%3E&Via=x&Body=x" ..
    "&P-Asserted-Identity=x&Supported=x&Alert-Info=x&Replaces=x&X-Bad=a%0D%0AVia:%20x&X%20Y=1"
  call:dial({ uri = "sip:bob@10.0.0.2;lr;method=INVITE?" .. asked, headers = { Priority = "urgent" },
              to = "sip:bob@x.example?Subject=x" })
end

function numbers.moved(call)
  local ok, res = call:dial("sip:bob@10.0.0.2", { follow_redirects = 2 })
  if not ok then call:reject(res) end
end

function numbers.typed(call)
  local _, res = call:fork("sip:bob@10.0.0.2", { headers = { c = "text/x-other" } })
  local seen = sip.shared "seen"
  seen:set("headers", table.concat({ res.headers["Call-Info"], res.headers["call-info"], res.headers["X-any"], res.headers["x-Any"] }, " "))
  seen:set("none", tostring(res.headers["X-None"]))
  call:reject(res)
end

function numbers.passed(call)
  local _, res = call:fork "sip:bob@10.0.0.2"
  call:reject(res, { headers = { ["Retry-After"] = 5, Warning = false } })
end

sip.on.invite(function(call) numbers[call.uri.user](call) end)

sip.on.info(function(req) req:pass{ headers = words "mine" } end)
sip.on.reinvite(function(req) req:pass{ headers = words "mine" } end)
sip.on.update(function(req) req:pass{ headers = words "mine" } end)

sip.on.options(function(req)
  if req.uri.user == "reply" then return req:reply(200, { headers = words "mine" }) end
  local res = req:pass{ headers = { Allow = "NOTHING", ["X-Any"] = "1" }, body = "how it is", content_type = "text/x-state" }
  assert(res.code == 200 and res.reason == "OK")
end)

sip.on.message(function(req)
  if req.uri.user == "typed" then
    return req:reply(200, { headers = { ["Content-Type"] = "application/json" }, body = "{}" })
  end
  if req.uri.user == "relay" then return req:relay("sip:bob@10.0.0.2?Subject=hi&To=x", { headers = words "mine" }) end
  req:pass{ headers = { ["X-Any"] = "1" } }
end)

sip.on.notify(function(req) assert(req:pass().code == 481) end)
