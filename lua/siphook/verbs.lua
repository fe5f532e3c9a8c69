-- What a test says to its phones: register, invite, expect, reply, bye and the rest.
local native = ...
local phone, sip, sdp = native.phone, native.sip, native.sdp
local Phone, Call, Request, Response, Sent = phone.Phone, phone.Call, phone.Request, phone.Response, phone.Sent
local fail = phone.fail

---------------------------------------------------------------------------------------------- expecting

local function wanted_text(what)
  return type(what) == "number" and ("%d %s"):format(what, sip.reason(what)) or tostring(what)
end

-- "INVITE", 200, "180", "2xx", "200 BYE": does the message fit?
local function fits(message, what)
  if type(message) == "string" then return what == "?" end
  if type(what) == "number" then return message.code == what end
  if what == "*" then return true end
  local code, method = what:match "^(%d[%dx][%dx])%s*(%u*)$"
  if not code then return message.is_request and message.method == what end
  if message.is_request or (method ~= "" and message.method ~= method) then return false end
  return tostring(message.code):find("^" .. code:gsub("x", "%%d") .. "$") ~= nil
end

local function value_fits(value, pattern)
  if type(pattern) == "function" then return pattern(value) and true or false end
  if pattern == true then return value ~= nil end
  if pattern == false then return value == nil end
  if value == nil then return false end
  value, pattern = tostring(value), tostring(pattern)
  if value == pattern then return true end
  local good, found = pcall(string.find, value, pattern)
  return good and found ~= nil
end

local function sdp_fits(body, wanted)
  local session = sdp.read(body)
  if wanted == true then return session ~= nil end
  if wanted == false then return session == nil end
  if type(wanted) == "string" then return value_fits(body, wanted) end
  if type(wanted) == "function" then return session ~= nil and wanted(session) and true or false end
  if not session then return false, "there is no session description" end
  for key, value in pairs(wanted) do
    if key == "has" or key == "lacks" then
      for _, name in ipairs(type(value) == "table" and value or { value }) do
        if session:has(name) ~= (key == "has") then return false, ("%s is %soffered"):format(name, key == "has" and "not " or "") end
      end
    elseif not value_fits(session[key], value) then
      return false, ("its %s is %s"):format(key, tostring(session[key]))
    end
  end
  return true
end

local fields = { uri = "raw_uri", from = "From", to = "To", body = "body", reason = "reason", contact = "Contact" }

-- The first demand that a message does not meet, in words; nil: it meets all.
local function demand_missed(message, demands)
  for key, pattern in pairs(demands) do
    if key == "sdp" then
      local good, why = sdp_fits(message.body, pattern)
      if not good then return ("its session description is not as expected%s"):format(why and ": " .. why or "") end
    elseif key ~= "within" and key ~= "timeout" and key ~= "headers" then
      local value
      if type(key) == "string" then value = message[fields[key] or key] end
      if not value_fits(value, pattern) then
        return ("its %s is %s, expected %s"):format(key, value == nil and "absent" or ('"%s"'):format(tostring(value)),
          type(pattern) == "string" and ('"%s"'):format(pattern) or type(pattern) == "function" and "something else" or
          pattern == true and "any" or pattern == false and "none" or tostring(pattern))
      end
    end
  end
  if demands.headers then return demand_missed(message, demands.headers) end
end

local function object_for(entry)
  local message, call, origin = entry.message, entry.call, entry.origin
  if type(message) == "string" then return message end
  if not message.is_request then
    return setmetatable({ raw = message, call = call, sent = origin, phone = call and call.phone }, Response)
  end
  if message.method == "INVITE" and not message.to_tag then return call end
  return setmetatable({ raw = message, call = call, server = origin, phone = call and call.phone }, Request)
end

-- What came to this phone (of this call, to this request) and that no expect has taken yet, in words.
local function what_came(self, call, sent)
  local list, first = {}, nil
  for _, entry in ipairs(self.inbox) do
    if not entry.consumed and (not call or entry.call == call) and (not sent or entry.origin == sent) and
       not (type(entry.message) ~= "string" and (entry.message.method == "ACK" and entry.message.is_request or entry.message.code == 100)) then
      list[#list + 1] = phone.describe(entry.message)
      first = first or entry
    end
  end
  if #list == 0 then return "nothing came", nil end
  return table.concat(list, ", ") .. " came", first
end

-- An answer that decides against what is expected: no use in waiting.
local function contradicts(entry, what, sent, call)
  local message = entry.message
  if type(message) == "string" or message.is_request or message.code < 200 then return false end
  if type(what) == "string" and not what:find "^%d" then return false end
  if sent then return entry.origin == sent end
  return call ~= nil and entry.origin ~= nil and entry.origin.method == (type(what) == "string" and what:match "%u+$" or "INVITE")
end

local function expect(self, call, sent, what, demands)
  local plan = self.plan
  if type(what) == "string" and what:find "^%d%d%d$" then what = tonumber(what) end
  if type(demands) == "number" then demands = { within = demands } end
  if demands ~= nil and type(demands) ~= "table" then error(("expect: demands are a table, got %s"):format(type(demands)), 3) end
  if type(what) ~= "number" and type(what) ~= "string" then
    error(("expect: a method or a code expected, got %s"):format(type(what)), 3)
  end
  if type(what) == "string" and not what:find "^[%u*?]" and not what:find "^%d[%dx][%dx]" then
    error(("expect: '%s' is neither a method nor a code"):format(what), 3)
  end
  local who = self.name
  local limit = demands and (demands.within or demands.timeout) or plan.patience
  local found, against
  local function look()
    for _, entry in ipairs(self.inbox) do
      if not entry.consumed and (not call or entry.call == call) and (not sent or entry.origin == sent) then
        if fits(entry.message, what) then
          found = entry
          return true
        elseif contradicts(entry, what, sent, call) then
          against = entry
          return true
        end
      end
    end
  end
  plan:wait(look, math.floor(limit * 1e6))
  if against then
    against.consumed = true
    fail(plan, ("%s expected %s, but %s came"):format(who, wanted_text(what), phone.describe(against.message)))
  end
  if not found then
    fail(plan, ("%s expected %s, but %s within %g s"):format(who, wanted_text(what), what_came(self, call, sent), limit))
  end
  found.consumed = true
  if demands then
    local missed = demand_missed(found.message, demands)
    if missed then
      fail(plan, ("%s received %s, but %s"):format(who, phone.describe(found.message), missed), found.message.text)
    end
  end
  return object_for(found)
end

-- Whether nothing that fits is there or comes for that long.
local function expect_none(self, call, what, seconds)
  local found
  self.plan:wait(function()
    for _, entry in ipairs(self.inbox) do
      if not entry.consumed and (not call or entry.call == call) and fits(entry.message, what) then
        found = entry
        return true
      end
    end
  end, math.floor((seconds or self.plan.patience) * 1e6))
  if found then fail(self.plan, ("%s expected no %s, but %s came"):format(self.name, wanted_text(what), phone.describe(found.message))) end
end

function Phone:expect(what, demands) return expect(self, nil, nil, what, demands) end
function Phone:expect_none(what, seconds) expect_none(self, nil, what, seconds) return self end
function Call:expect(what, demands) return expect(self.phone, self, nil, what, demands) end
function Call:expect_none(what, seconds) expect_none(self.phone, self, what, seconds) return self end
function Request:expect(what, demands) return expect(self.phone, self.call, nil, what, demands) end
function Response:expect(what, demands) return expect(self.phone, self.call, nil, what, demands) end
function Sent:expect(what, demands) return expect(self.phone, nil, self, what, demands) end

---------------------------------------------------------------------------------------------- options

local function set(names)
  local out = {}
  for name in names:gmatch "%S+" do out[name] = true end
  return out
end
local of_answers = set "reason headers sdp body content_type"
local of_requests = set "headers sdp body content_type from to display auth contact call_id cseq transport"
local more = { register = set "expires expect", unregister = set "expires expect", subscribe = set "expires", publish = set "expires",
               reinvite = set "direction" }
local kinds = { headers = set "table", sdp = set "table string boolean", body = set "string", content_type = set "string" }

-- A copy of what a test gives to a verb, over what the verb has by itself.
local function taken(self, verb, options, known, o)
  o = o or {}
  if options ~= nil and type(options) ~= "table" then
    fail(self.plan, ("%s: options are a table, got %s"):format(verb, type(options)))
  end
  for key, value in pairs(options or {}) do
    if not (known[key] or more[verb] and more[verb][key]) then fail(self.plan, ("%s: unknown option '%s'"):format(verb, tostring(key))) end
    if kinds[key] and not kinds[key][type(value)] then
      fail(self.plan, ("%s: option '%s' is a %s"):format(verb, key, type(value)))
    end
    o[key] = value
  end
  return o
end

---------------------------------------------------------------------------------------------- answering

-- reply(code [, reason] [, {headers=, sdp=, body=, content_type=}])
local function reply(server, verb, code, reason, options)
  if type(reason) == "table" then reason, options = nil, reason end
  local self = server.call.phone
  local o = taken(self, verb, options, of_answers)
  o.reason = reason or o.reason
  if math.type(code) ~= "integer" or code < 100 or code > 699 then error(verb .. ": a code from 100 to 699 expected", 3) end
  if server.final then
    if server.habit and server.code // 100 == code // 100 then return end
    fail(self.plan, ("%s has answered this %s with %d already%s"):format(self.name, server.method, server.code,
      server.habit and " (by itself, 0.1 s after it came)" or ""))
  end
  phone.answer(self, server, code, o)
end

local function check_server(self, verb)
  local server = rawget(self, "server")
  if not server then error(verb .. ": there is no request to answer here", 3) end
  return server
end

function Request:reply(code, reason, options)
  reply(check_server(self, "reply"), "reply", code, reason, options)
  return self
end
Call.reply = Request.reply

function Request:answer(options)
  reply(check_server(self, "answer"), "answer", 200, nil, options)
  return self
end
Call.answer, Request.accept, Call.accept = Request.answer, Request.answer, Request.answer

function Request:reject(code, reason, options)
  reply(check_server(self, "reject"), "reject", code or 603, reason, options)
  return self
end
Call.reject = Request.reject

function Request:ring(options)
  reply(check_server(self, "ring"), "ring", 180, nil, options)
  return self
end
Call.ring = Request.ring

-- Who acknowledges: the 2xx that came last, or that response.
function Response:ack(options)
  if not self.sent or self.sent.method ~= "INVITE" or self.code < 200 then error("ack: this is no final answer to an INVITE", 2) end
  options = taken(self.phone, "ack", options, of_answers)
  if self.code < 300 then phone.ack_success(self.phone, self.raw, self.sent, options) end
  return self.call                                     -- a failure has been acknowledged by the transaction
end

function Call:ack(options)
  for i = #self.phone.inbox, 1, -1 do
    local entry = self.phone.inbox[i]
    if entry.call == self and type(entry.message) ~= "string" and not entry.message.is_request and entry.message.method == "INVITE" and
       entry.message.code >= 200 then
      entry.consumed = true
      return object_for(entry):ack(options)
    end
  end
  error("ack: no final answer has come", 2)
end

function Response:prack(options)
  local o = taken(self.phone, "prack", options, of_requests)
  o.headers = { RAck = ("%s %d %s"):format(self.raw.RSeq or "1", self.raw.cseq, self.raw.method) }
  for key, value in pairs(options and options.headers or {}) do o.headers[key] = value end
  if o.sdp then o.body, o.content_type = self.phone:body_of(o) end
  return phone.request(self.phone, self.call, "PRACK", self.call.target, o)
end

---------------------------------------------------------------------------------------------- calls

-- phone:invite(target [, {headers=, sdp=, from=, display=, to=, auth=false, body=, content_type=}]) -> call
function Phone:invite(target, options)
  local o = taken(self, "invite", options, of_requests)
  o.body, o.content_type = self:body_of(o)
  o.contact = o.contact or self.contact
  local sent = phone.request(self, nil, "INVITE", self:target(target), o)
  sent.call.sent = sent
  sent.call.invite = sent
  return sent.call
end

local function in_call(self, method, o)
  return phone.request(self.phone, self, method, self.target, o)
end

local function taken_in_call(self, verb, options, o) return taken(self.phone, verb, options, of_requests, o) end

function Call:bye(options)
  if not self.confirmed then fail(self.phone.plan, self.phone.name .. " cannot send BYE: the call is not answered") end
  options = taken_in_call(self, "bye", options)
  self.over = true
  return in_call(self, "BYE", options)
end

-- The INVITE of ours that has no final answer yet.
function Call:cancel(options)
  local sent = rawget(self, "invite")
  if not sent then error("cancel: this call came in; the caller may cancel it", 2) end
  if sent.final then fail(self.phone.plan, self.phone.name .. " cannot cancel: the call has its final answer") end
  options = taken_in_call(self, "cancel", options)
  local cancel = setmetatable({ phone = self.phone, call = self, method = "CANCEL", uri = sent.uri, branch = sent.branch, cseq = sent.cseq,
                                transport = sent.transport, ip = sent.ip, port = sent.port }, Sent)
  self.phone.sent[sent.branch .. "CANCEL"] = cancel
  cancel.text = phone.send_behind(self.phone, sent, "CANCEL", sent.to, options)
  local plan = self.phone.plan
  if plan.lossy then phone.insist(self.phone, cancel, 500000, plan.world:now() + 32000000) end
  return self
end

-- Another offer in the call: {sdp=}, {direction=}; the answer is to be acknowledged.
function Call:reinvite(options)
  local o, self_phone = taken_in_call(self, "reinvite", options), self.phone
  self.version = self.version + 1
  if type(o.sdp) ~= "string" and o.sdp ~= false and not o.body then
    local wanted = { version = self.version, direction = o.direction }
    for key, value in pairs(o.sdp or {}) do wanted[key] = value end
    o.sdp = wanted
  end
  o.body, o.content_type = self_phone:body_of(o)
  o.contact = self_phone.contact
  local sent = in_call(self, "INVITE", o)
  self.invite = sent
  return sent
end
function Call:hold() return self:reinvite{ direction = "sendonly" } end
function Call:resume() return self:reinvite{ direction = "sendrecv" } end

function Call:update(options)
  local o = taken_in_call(self, "update", options)
  if o.sdp then o.body, o.content_type = self.phone:body_of(o) end
  o.contact = self.phone.contact
  return in_call(self, "UPDATE", o)
end

function Call:info(body, options)
  local o = taken_in_call(self, "info", options, { body = body, content_type = "application/dtmf-relay" })
  return in_call(self, "INFO", o)
end

-- One key as an INFO: "5", "#"; milliseconds.
function Call:dtmf(signal, duration)
  return self:info(("Signal=%s\r\nDuration=%d\r\n"):format(signal, duration or 160))
end

function Call:message(body, options)
  local o = taken_in_call(self, "message", options, { body = body, content_type = "text/plain" })
  return in_call(self, "MESSAGE", o)
end

-- Any request in the call.
function Call:request(method, options) return in_call(self, method, taken_in_call(self, "request", options)) end

-- A transfer: call:refer("carol") blind; call:refer(other_call) attended (RFC 3515, RFC 3891).
function Call:refer(target, options)
  local o = taken_in_call(self, "refer", options, { headers = {} })
  local to
  if type(target) == "table" and rawget(target, "id") and rawget(target, "phone") then
    local replaces = ("%s;to-tag=%s;from-tag=%s"):format(target.id, target.remote_tag, target.local_tag)
    replaces = replaces:gsub("[^%w%-_.!~*'()]", function(c) return ("%%%02X"):format(c:byte()) end)
    to = ("<%s?Replaces=%s>"):format(target.remote_uri:match "<(.-)>" or target.target, replaces)
  else
    to = "<" .. self.phone:target(target) .. ">"
  end
  local headers = { ["Refer-To"] = to, ["Referred-By"] = "<" .. self.phone.aor .. ">" }
  for key, value in pairs(o.headers or {}) do headers[key] = value end
  o.headers, o.contact = headers, self.phone.contact
  return in_call(self, "REFER", o)
end
Call.transfer = Call.refer

---------------------------------------------------------------------------------------------- requests outside of calls

-- phone:register([{expires=, contact=, headers=, expect=code, auth=false}]) -> the answer
function Phone:register(options)
  local o, wanted = taken(self, "register", options, of_requests, { headers = {} }), 200
  wanted = o.expect or wanted
  local headers = {}
  if o.expires then headers.Expires = o.expires end
  for key, value in pairs(o.headers or {}) do headers[key] = value end
  o.headers = headers
  if o.contact == nil then o.contact = self.contact end
  if o.contact and not o.contact:find "<" and o.contact ~= "*" then o.contact = "<" .. o.contact .. ">" end
  o.to = o.to or self.aor
  self.registering = self.registering or {}                       -- one Call-ID for each address of record
  local sent = phone.request(self, self.registering[o.to], "REGISTER", "sip:" .. self.domain, o)
  self.registering[o.to] = sent.call
  sent.call.registration = true
  local answer
  self.plan:wait(function()
    for _, entry in ipairs(self.inbox) do
      if entry.origin == sent and entry.message.code >= 200 then
        answer = entry
        return true
      end
    end
  end, math.floor(self.plan.patience * 1e6))
  if not answer then fail(self.plan, ("%s got no answer to REGISTER"):format(self.name)) end
  answer.consumed = true
  if answer.message.code ~= wanted then
    local hint = ""
    if (answer.message.code == 401 or answer.message.code == 407) and o.auth ~= false then
      hint = self.password and " (the password is not the right one)" or " (it has no password: plan:phone(name, {password=}))"
    end
    fail(self.plan, ("%s expected %s to REGISTER, but %s came%s"):format(self.name, wanted_text(wanted), phone.describe(answer.message), hint))
  end
  return object_for(answer)
end

function Phone:unregister(options)
  return self:register(taken(self, "unregister", options, of_requests, { expires = 0 }))
end

-- Any request outside of a call -> something with :expect(code).
function Phone:request(method, target, options)
  return phone.request(self, nil, method, self:target(target), taken(self, "request", options, of_requests))
end

function Phone:message(target, body, options)
  local o = taken(self, "message", options, of_requests, { body = body, content_type = "text/plain" })
  return phone.request(self, nil, "MESSAGE", self:target(target), o)
end

function Phone:options(target, options)
  return phone.request(self, nil, "OPTIONS", target and self:target(target) or "sip:" .. self.domain,
    taken(self, "options", options, of_requests))
end

-- phone:subscribe(target, event [, {expires=, headers=}]) -> its call: NOTIFYs come there
function Phone:subscribe(target, event, options)
  local o, headers = taken(self, "subscribe", options, of_requests), { Event = event }
  headers.Expires = o.expires or 3600
  for key, value in pairs(o.headers or {}) do headers[key] = value end
  o.headers, o.contact = headers, self.contact
  local sent = phone.request(self, nil, "SUBSCRIBE", self:target(target), o)
  sent.call.sent = sent
  return sent.call
end

-- Again in the dialog: a refresh, or the end with expires = 0.
function Call:subscribe(event, options)
  local o, headers = taken_in_call(self, "subscribe", options), { Event = event }
  headers.Expires = o.expires or 3600
  for key, value in pairs(o.headers or {}) do headers[key] = value end
  o.headers, o.contact = headers, self.phone.contact
  return in_call(self, "SUBSCRIBE", o)
end

function Phone:publish(target, event, body, options)
  local o, headers = taken(self, "publish", options, of_requests, { body = body, content_type = "application/pidf+xml" }), { Event = event }
  headers.Expires = o.expires or 3600
  for key, value in pairs(o.headers or {}) do headers[key] = value end
  o.headers = headers
  return phone.request(self, nil, "PUBLISH", self:target(target), o)
end

function Call:notify(event, state, body, options)
  local o = taken_in_call(self, "notify", options, { body = body, content_type = "application/simple-message-summary" })
  local headers = { Event = event, ["Subscription-State"] = state or "active" }
  for key, value in pairs(o.headers or {}) do headers[key] = value end
  o.headers, o.contact = headers, self.phone.contact
  return in_call(self, "NOTIFY", o)
end

-- The text as it is, to siphook: malformed things.
function Phone:send(text, transport)
  self.plan:transmit(self, transport or self.transport, self.proxy.ip, self.proxy.port, text)
  return self
end

-- Its TCP connections end, as when the network goes away.
function Phone:disconnect()
  self.plan.world:hang_up(self.place)
  return self
end

---------------------------------------------------------------------------------------------- the end of a case

-- Hangs up whatever is left: calls of ours cancelled or ended, calls to us refused.
function Phone:finish()
  for i = 1, #self.calls do
    local call = self.calls[i]
    local server, sent = rawget(call, "server"), rawget(call, "invite")
    local left = not call.over and not call.registration
    if left and server and not server.final then
      phone.answer(self, server, 480, {})
    elseif left and sent and not sent.final and sent.method == "INVITE" and not call.confirmed then
      call:cancel()
    elseif left and call.confirmed and (server or sent) then
      call:bye()
    end
  end
end
