-- What a verb says about each of its arguments when it is a thread, which no verb takes. The functions and their parameters are told by the
-- test: lines "call:fork targets options", their values "call:ring code=183".
local sip = require "siphook"

local wrong = coroutine.create(function() end)
local examples = {
  seconds = 1, timeout = 1, code = 486, name = "name", reason = "reason", key = "k", value = 1, n = 1, max = 1, text = "x", url = "http://h/",
  body = "x", event = "x", aor = "alice", target = "sip:a@b", targets = "sip:a@b", content_type = "text/plain", what = "sip:a@b", algorithm = "sha256",
  id = "x", state = "active", contact = "sip:a@b", data = "x", codecs = "PCMA", how = 486,
}

-- One line for each argument of which nothing is said.
local function probe(owners)
  local silent = {}
  for line in sip.config.verbs:gmatch "[^;]+" do
    local owner, sign, verb, rest = line:match "^([%w_]+)([.:])([%w_]+)(.*)$"
    local object = owners[owner]
    local fn = object and object[verb]
    if fn then
      local names, arguments, first = {}, {}, sign == ":" and 1 or 0
      if sign == ":" then arguments[1] = object end
      for parameter, value in rest:gmatch "([%w_]+)=?([%w_]*)" do
        names[#names + 1] = parameter
        if value == "function" then value = print
        elseif value ~= "" then value = tonumber(value) or value
        elseif parameter == "leg" then value = owners.leg
        else value = examples[parameter] end
        arguments[first + #names] = value
      end
      for i, parameter in ipairs(names) do
        local with = table.move(arguments, 1, first + #names, 1, {})
        with[first + i] = wrong
        local ok, why = pcall(fn, table.unpack(with, 1, first + #names))
        if ok or not tostring(why):find "thread" then
          silent[#silent + 1] = ("%s%s%s: %s: %s"):format(owner, sign, verb, parameter, tostring(why))
        end
      end
    end
  end
  return table.concat(silent, "\n")
end

sip.on.message(function(req)
  req:reply(200, { body = probe{
    sip = sip, http = sip.http, json = sip.json, base64 = sip.base64, uri = sip.uri "sip:a@b", store = sip.shared "s", request = req,
    sdp = sip.sdp "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
  } })
end)

sip.on.invite(function(call)
  local text = probe{ call = call, leg = call.a }
  call:reject(480, { headers = { ["X-Silent"] = text:gsub("\n", " / ") } })
end)

sip.on.register(function(req) req:reply(400, { body = probe{ message = req } }) end)

sip.on.refer(function(ref) ref:reply(400, { body = probe{ refer = ref } }) end)

sip.on.subscribe(function(sub) sub:reply(400, { body = probe{ subscription = sub } }) end)
