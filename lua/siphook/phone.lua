-- Phones and peers: user agents that do by themselves what RFC 3261 leaves no choice about (ACK of a failure, 487 after a CANCEL,
-- retransmissions, digest), and everything else when the test says so.
local native = ...
local sip, sdp = native.sip, native.sdp

local phone = {}

local T1, T2 = 500000, 4000000                   -- microseconds, RFC 3261 17
local HABIT_DELAY = 100000                       -- how long the test has to answer a BYE before the phone does
local TRANSACTION_END = 64 * T1

-- In a dialog these are answered 200 by the phone itself when the test says nothing.
local habits = { BYE = true, CANCEL = true, NOTIFY = true, OPTIONS = true, INFO = true, MESSAGE = true, PRACK = true }

local Phone, Call, Request, Response, Sent = {}, {}, {}, {}, {}
phone.Phone, phone.Call = Phone, Call

local function fail(...) return native.fail(...) end

---------------------------------------------------------------------------------------------- objects that wrap a message

-- Methods first, then the fields of the message, then what the call can do.
local function class(methods, name)
  methods.__name = name
  methods.__index = function(self, key)
    local own = methods[key]
    if own ~= nil then return own end
    local message = rawget(self, "raw")
    if key == "raw" then return nil end
    if key == "sdp" then return message and sdp.read(message.body) end
    local value = message and message[key]
    if value ~= nil then return value end
    local call = rawget(self, "call")
    local verb = call and Call[key]
    if type(verb) == "function" then
      return function(me, ...)
        return verb(me == self and call or me, ...)
      end
    end
  end
  methods.__tostring = function(self)
    local message = rawget(self, "raw")
    return message and phone.describe(message) or name
  end
end
class(Call, "call")
class(Request, "request")
class(Response, "response")
Sent.__index, Sent.__name = Sent, "request"       -- what we sent: no message came yet

-- "486 Busy Here", "INVITE sip:bob@example.org".
function phone.describe(message)
  if type(message) == "string" then return ("no SIP message (%d bytes)"):format(#message) end
  if message.is_request then return message.method .. " " .. message.raw_uri end
  return ("%d %s (%s)"):format(message.code, message.reason, message.method)
end

-- Every object that came from the wire has these.
local function all_headers(self, name) return self.raw and self.raw:headers(name) or {} end
local function one_header(self, name) return self.raw and self.raw[name] end
for _, methods in ipairs{ Call, Request, Response } do
  methods.headers, methods.header = all_headers, one_header
end

---------------------------------------------------------------------------------------------- making

Phone.__index = Phone
Phone.__name = "phone"
Phone.__tostring = function(self) return self.name end

function phone.new(plan, o)
  local self = setmetatable({
    plan = plan, name = o.name, user = o.user, domain = o.domain, display = o.display, password = o.password,
    login = o.login or o.user, ip = o.ip, port = o.port or 5060, transport = o.transport or "udp", place = o.place,
    proxy = o.proxy, user_agent = o.user_agent or "virtual phone", allow = o.allow, supported = o.supported, codecs = o.codecs,
    algorithm = o.algorithm, realm = o.realm, habits = o.habits ~= false, peer = o.peer, inbox = {}, calls = {}, sent = {}, served = {}, nonces = {},
    media_port = 40000 + 10 * o.place,
  }, Phone)
  self.aor = ("sip:%s@%s"):format(self.user, self.domain)
  self.uri = self.aor
  local transport = self.transport ~= "udp" and ";transport=" .. self.transport or ""
  self.host = self.ip:find ":" and "[" .. self.ip .. "]" or self.ip    -- as a URI or Via wants it
  self.contact = ("<sip:%s@%s:%d%s>"):format(self.user, self.host, self.port, transport)
  return self
end

-- What a test writes as a target: "bob", "bob@host", a URI.
function Phone:target(text)
  if text == nil then fail(self.plan, "whom? a name or a URI is expected") end
  text = tostring(text)
  if text:find "^%a[%w+.-]*:" then return text end
  if text:find "@" then return "sip:" .. text end
  local user = text:gsub("[^%w%-_.!~*'()&=+$,;?/]", function(c) return ("%%%02X"):format(c:byte()) end)
  return ("sip:%s@%s"):format(user, self.peer and self.plan.domain or self.domain)
end

function Phone:from(o)
  if o and o.from then
    local text = tostring(o.from)
    return text:find "<" and text or "<" .. self:target(text) .. ">"
  end
  local display = o and o.display or self.display
  return (display and ('"%s" '):format(display:gsub('["\\]', "\\%0")) or "") .. "<" .. self.aor .. ">"
end

-- The session description of this phone: a text as it is, a table of options, false: none.
function Phone:body_of(o, offer)
  o = o or {}
  if o.body then return o.body, o.content_type or "application/sdp" end
  local wanted = o.sdp
  if wanted == false then return nil end
  if wanted == true then wanted = nil end
  if type(wanted) == "string" then return wanted, "application/sdp" end
  local options = { ip = self.ip, port = self.media_port, codecs = self.codecs, session = self.place + 1 }
  for key, value in pairs(wanted or {}) do options[key] = value end
  return offer and sdp.answer(offer, options) or sdp.write(options), "application/sdp"
end

local function call_new(self, fields)
  fields.phone, fields.cseq, fields.routes = self, fields.cseq or 0, fields.routes or {}
  fields.version = 1
  local call = setmetatable(fields, Call)
  self.calls[#self.calls + 1] = call
  return call
end

---------------------------------------------------------------------------------------------- sending requests

-- A field of a message that is being written: native.compose takes names and values one after the other.
local function put(lines, name, value)
  local n = #lines
  lines[n + 1], lines[n + 2] = name, value
end

-- sent: {method, uri, call, headers, body, content_type, authorization}. Gives it a branch and puts it on the wire.
local function transmit(self, sent)
  local plan, call = self.plan, sent.call
  sent.branch = "z9hG4bK-" .. plan:token(self.user)
  sent.routes = call.routes
  sent.to = call.remote_tag and call.remote_uri .. ";tag=" .. call.remote_tag or call.remote_uri
  local lines = {
    "Via", ("SIP/2.0/%s %s:%d;branch=%s;rport"):format(sent.transport:upper(), self.host, self.port, sent.branch),
    "Max-Forwards", "70",
    "From", call.local_uri .. ";tag=" .. call.local_tag,
    "To", sent.to,
    "Call-ID", call.id,
    "CSeq", sent.cseq .. " " .. sent.method,
  }
  for _, route in ipairs(call.routes) do put(lines, "Route", route) end
  if sent.contact then put(lines, "Contact", sent.contact) end
  if sent.method == "INVITE" and self.allow ~= false then
    put(lines, "Allow", self.allow or "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, NOTIFY, REFER, UPDATE, PRACK")
  end
  if self.supported and (sent.method == "INVITE" or sent.method == "REGISTER") then
    put(lines, "Supported", self.supported)
  end
  put(lines, "User-Agent", self.user_agent)
  if sent.authorization then put(lines, sent.authorization[1], sent.authorization[2]) end
  sent.text = native.compose(sent.method .. " " .. sent.uri .. " SIP/2.0", lines, sent.headers, sent.body, sent.content_type)
  sent.final = nil
  self.sent[sent.branch .. sent.method] = sent
  plan:transmit(self, sent.transport, sent.ip, sent.port, sent.text)
  if plan.lossy and sent.method ~= "ACK" then phone.insist(self, sent, T1, plan.world:now() + TRANSACTION_END) end
  return sent
end

-- Sends it again until it is answered (timers A and E).
function phone.insist(self, sent, interval, stop)
  local branch = sent.branch
  self.plan:after(interval, function(now)
    if sent.branch ~= branch or sent.final or (sent.provisional and sent.method == "INVITE") or now > stop then return end
    self.plan:transmit(self, sent.transport, sent.ip, sent.port, sent.text, true)
    local next_one = interval * 2
    if sent.method ~= "INVITE" and next_one > T2 then next_one = T2 end
    phone.insist(self, sent, next_one, stop)
  end)
end

-- Where a request goes: the first route or the target where that is an address; else the proxy.
local function next_hop(self, call, uri)
  local first = call.routes[1] and call.routes[1]:match "<(.-)>" or uri
  local host, port = sip.host(first)
  local bare = host and host:gsub("[%[%]]", "")
  if call.remote_tag and bare and (bare:find "^%d+%.%d+%.%d+%.%d+$" or bare:find ":") then
    return bare, port or 5060
  end
  return self.proxy.ip, self.proxy.port
end

-- A request outside of a dialog, or (call given) in one.
local function request(self, call, method, uri, o)
  o = o or {}
  call = call or call_new(self, {
    id = o.call_id or self.plan:token(self.user) .. "@" .. self.host, local_uri = self:from(o), local_tag = self.plan:token "tag",
    remote_uri = o.to and (tostring(o.to):find "<" and tostring(o.to) or "<" .. self:target(o.to) .. ">") or "<" .. uri .. ">",
    target = uri, outgoing = true, transport = o.transport,
  })
  if method ~= "ACK" and method ~= "CANCEL" then call.cseq = call.cseq + 1 end
  local sent = setmetatable({
    phone = self, call = call, method = method, uri = uri, cseq = o.cseq or call.cseq, headers = o.headers, body = o.body,
    content_type = o.content_type, auth = o.auth, contact = o.contact, transport = o.transport or call.transport or self.transport,
  }, Sent)
  sent.ip, sent.port = next_hop(self, call, uri)
  return transmit(self, sent)
end

---------------------------------------------------------------------------------------------- digest (RFC 7616)

-- The header line that answers a challenge; nil: the phone cannot.
local function credentials(self, message, sent)
  local field = message.code == 401 and "WWW-Authenticate" or "Proxy-Authenticate"
  for _, value in ipairs(message:headers(field)) do
    local c = native.challenge(value)
    if c and (not self.algorithm or self.algorithm:upper() == c.algorithm) and (not self.realm or self.realm == c.realm) then
      local count = (self.nonces[c.nonce] or 0) + 1
      self.nonces[c.nonce] = count
      local qop = c.qop and (c.qop .. ","):find "auth%s*," and "auth"
      local nc, cnonce = ("%08x"):format(count), self.plan:token "cnonce"
      local response = native.response{
        algorithm = c.algorithm, session = c.session, user = self.login, realm = c.realm, password = self.password,
        method = sent.method, uri = sent.uri, nonce = c.nonce, nc = nc, cnonce = cnonce, qop = qop, body = sent.body,
      }
      local text = ('Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=%s%s'):format(
        self.login:gsub('["\\]', "\\%0"), c.realm:gsub('["\\]', "\\%0"), c.nonce, sent.uri, response, c.algorithm,
        c.session and "-sess" or "")
      if qop then text = text .. (', qop=auth, nc=%s, cnonce="%s"'):format(nc, cnonce) end
      if c.opaque and c.opaque ~= "" then text = text .. (', opaque="%s"'):format(c.opaque) end
      return { message.code == 401 and "Authorization" or "Proxy-Authorization", text }, c.stale
    end
  end
end

-- True: the request goes again with credentials, and nobody needs to see this answer.
local function authorize(self, message, sent)
  if not self.password or sent.auth == false or (message.code ~= 401 and message.code ~= 407) then return false end
  local line, stale = credentials(self, message, sent)
  if not line or (sent.authorization and not stale) then return false end
  sent.authorization, sent.cseq = line, sent.call.cseq + 1
  sent.call.cseq = sent.cseq
  transmit(self, sent)
  return true
end

---------------------------------------------------------------------------------------------- ACK, CANCEL

-- What goes the way of an INVITE hop by hop: CANCEL (9.1), the ACK of a failure (17.1.1.3).
local function send_behind(self, sent, method, to, o)
  local lines = {
    "Via", ("SIP/2.0/%s %s:%d;branch=%s;rport"):format(sent.transport:upper(), self.host, self.port, sent.branch),
    "Max-Forwards", "70", "From", sent.call.local_uri .. ";tag=" .. sent.call.local_tag, "To", to,
    "Call-ID", sent.call.id, "CSeq", sent.cseq .. " " .. method,
  }
  for _, route in ipairs(sent.routes) do put(lines, "Route", route) end
  local text = native.compose(method .. " " .. sent.uri .. " SIP/2.0", lines, o and o.headers, o and o.body)
  self.plan:transmit(self, sent.transport, sent.ip, sent.port, text)
  return text
end

local function ack_success(self, message, sent, o)
  local call = sent.call
  local dialog = setmetatable({}, { __index = call })
  if message.to_tag ~= call.remote_tag then                       -- another branch of a fork: a dialog for one request
    dialog.remote_tag, dialog.routes = message.to_tag, {}
    dialog.target = message.contact and message.contact.uri or call.target
  end
  local target = dialog.target
  local ip, port = next_hop(self, dialog, target)
  local lines = {
    "Via", ("SIP/2.0/%s %s:%d;branch=z9hG4bK-%s;rport"):format(sent.transport:upper(), self.host, self.port, self.plan:token "ack"),
    "Max-Forwards", "70", "From", call.local_uri .. ";tag=" .. call.local_tag,
    "To", call.remote_uri .. ";tag=" .. dialog.remote_tag, "Call-ID", call.id, "CSeq", message.cseq .. " ACK",
  }
  for _, route in ipairs(dialog.routes) do put(lines, "Route", route) end
  if sent.authorization then put(lines, sent.authorization[1], sent.authorization[2]) end
  local body, kind
  if o and (o.body or o.sdp) then body, kind = self:body_of(o) end
  local text = native.compose("ACK " .. target .. " SIP/2.0", lines, o and o.headers, body, kind)
  sent.acked = sent.acked or {}
  sent.acked[message.to_tag or ""] = { text = text, ip = ip, port = port }
  self.plan:transmit(self, sent.transport, ip, port, text)
end

---------------------------------------------------------------------------------------------- what comes in: answers

local function learn_from_answer(call, message, sent)
  if sent.method ~= "INVITE" and sent.method ~= "SUBSCRIBE" and sent.method ~= "UPDATE" and sent.method ~= "REFER" then return end
  if not message.to_tag or message.code <= 100 or message.code >= 300 then return end
  local contact = message.contact and message.contact.uri
  if not call.confirmed and (sent.method == "INVITE" or sent.method == "SUBSCRIBE") then
    call.remote_tag = message.to_tag
    local routes = sip.values(message:headers "Record-Route")
    call.routes = {}
    for i = #routes, 1, -1 do call.routes[#call.routes + 1] = routes[i] end
    call.confirmed = message.code >= 200
    call.target = contact or call.target
  elseif message.code >= 200 and contact and message.to_tag == call.remote_tag then
    call.target = contact
  end
end

local function take_answer(self, message, at)
  local sent = self.sent[(message.branch or "") .. message.method]
  if not sent then return self:note(message, nil, nil, at, "answers nothing of ours") end
  local key = message.code .. (message.to_tag or "")
  local repeated = sent.final and sent.final[key]
  if message.code >= 200 then
    sent.final = sent.final or {}
    sent.final[key] = true
  elseif sent.method == "INVITE" then
    sent.provisional = true
  end
  if sent.method == "INVITE" and message.code >= 300 then
    send_behind(self, sent, "ACK", message.To, nil)
  elseif repeated and sent.method == "INVITE" and sent.acked and sent.acked[message.to_tag or ""] then
    local ack = sent.acked[message.to_tag or ""]
    self.plan:transmit(self, sent.transport, ack.ip, ack.port, ack.text, true)
  end
  if repeated then return end
  if authorize(self, message, sent) then return end
  learn_from_answer(sent.call, message, sent)
  if message.code >= 200 and message.code < 300 and sent.method == "BYE" then sent.call.over = true end
  if message.code >= 300 and sent.method == "INVITE" and not sent.call.confirmed then sent.call.over = true end
  self:note(message, sent.call, sent, at)
end

---------------------------------------------------------------------------------------------- what comes in: requests

local function find_call(self, message)
  for i = #self.calls, 1, -1 do
    local call = self.calls[i]
    if call.id == message.call_id and (not message.to_tag or call.local_tag == message.to_tag) and
       (not call.remote_tag or not message.to_tag or call.remote_tag == message.from_tag) then
      return call
    end
  end
end

local function call_of_stranger(self, message, transport)
  local routes = sip.values(message:headers "Record-Route")
  return call_new(self, {
    id = message.call_id, local_uri = sip.without_tag(message.To), local_tag = self.plan:token "tag",
    remote_uri = sip.without_tag(message.From), remote_tag = message.from_tag, transport = transport,
    target = message.contact and message.contact.uri or message.from and message.from.uri or self.aor, routes = routes,
  })
end

-- Puts a final answer on the wire and, an INVITE's, again until it is acknowledged (timers G and that of 13.3.1.4).
local function send_answer(self, server, text, code)
  server.answer, server.code = text, code
  local plan = self.plan
  plan:transmit(self, server.transport, server.ip, server.port, text)
  if not plan.lossy or server.method ~= "INVITE" or code < 200 then return end
  local function again(interval)
    plan:after(interval, function(now)
      if server.acked or now > server.at + TRANSACTION_END then return end
      plan:transmit(self, server.transport, server.ip, server.port, server.answer, true)
      again(math.min(interval * 2, T2))
    end)
  end
  again(T1)
end

-- An answer by RFC 3261 8.2.6. o: headers, sdp, body, content_type, reason.
function phone.answer(self, server, code, o)
  local message, call = server.message, server.call
  local lines = {}
  for _, via in ipairs(message:headers "Via") do put(lines, "Via", via) end
  put(lines, "From", message.From)
  local to = message.To
  if code > 100 and not message.to_tag then to = to .. ";tag=" .. call.local_tag end
  put(lines, "To", to)
  put(lines, "Call-ID", message.call_id)
  put(lines, "CSeq", message.CSeq)
  local makes_dialog = server.method == "INVITE" or server.method == "SUBSCRIBE" or server.method == "REFER" or server.method == "UPDATE"
  if code > 100 and code < 300 and makes_dialog then
    for _, route in ipairs(message:headers "Record-Route") do put(lines, "Record-Route", route) end
    put(lines, "Contact", self.contact)
  end
  put(lines, "Server", self.user_agent)
  local body, kind = o.body, o.content_type or (o.body and "application/sdp")
  if server.method == "INVITE" and (o.sdp or (code >= 200 and code < 300 and o.sdp ~= false and not o.body)) then
    body, kind = self:body_of(o, message.body and message.body ~= "" and message.body or nil)
  end
  local text = native.compose(("SIP/2.0 %d %s"):format(code, o.reason or sip.reason(code)), lines, o.headers, body, kind)
  if code >= 200 then
    server.final = true
    if server.method == "INVITE" and code < 300 then call.confirmed = true end
    if server.method == "INVITE" and code >= 300 and not call.confirmed then call.over = true end
    if server.method == "BYE" then call.over = true end
  end
  send_answer(self, server, text, code)
end

local function take_cancel(self, server)
  local invite = self.served[(server.message.branch or "") .. "INVITE"]
  if not invite then return phone.answer(self, server, 481, {}) end
  server.call, server.invite = invite.call, invite
end

-- After a moment in which the test could have said something else.
local function by_habit(self, server)
  if not self.habits or not habits[server.method] then return end
  if self.peer and not server.message.to_tag and server.method ~= "CANCEL" then return end
  if not server.message.to_tag and server.method ~= "CANCEL" and server.method ~= "NOTIFY" then return end
  self.plan:after(HABIT_DELAY, function()
    if not server.final then
      server.habit = true
      phone.answer(self, server, 200, {})
    end
    local invite = server.invite
    if invite and not invite.final then
      invite.habit = true
      phone.answer(self, invite, 487, {})
    end
  end)
end

local function take_ack(self, message, at)
  local server = self.served[(message.branch or "") .. "INVITE"]        -- of a failure: the same branch
  if not server then
    for _, other in pairs(self.served) do
      if other.method == "INVITE" and other.message.call_id == message.call_id and other.message.cseq == message.cseq and
         other.final then
        server = other
      end
    end
  end
  if not server or server.acked then return end
  server.acked = true
  self:note(message, server.call, server, at)
end

local function take_request(self, message, transport, ip, port, at)
  if message.method == "ACK" then return take_ack(self, message, at) end
  local key = (message.branch or message.call_id .. message.cseq) .. message.method
  local server = self.served[key]
  if server then                                                          -- a retransmission
    if server.answer then self.plan:transmit(self, server.transport, server.ip, server.port, server.answer, true) end
    return
  end
  server = { message = message, method = message.method, transport = transport, ip = ip, port = port, at = at }
  self.served[key] = server
  local call = message.to_tag and find_call(self, message)
  if message.to_tag and not call then
    server.call = call_of_stranger(self, message, transport)
    table.remove(self.calls)
    return phone.answer(self, server, 481, {})
  end
  if call and message.to_tag then
    call.remote_tag = call.remote_tag or message.from_tag
    if message.contact and (message.method == "INVITE" or message.method == "UPDATE") then call.target = message.contact.uri end
  elseif message.method ~= "CANCEL" then
    call = call_of_stranger(self, message, transport)
    if message.method == "INVITE" then call.server, call.raw = server, message end
  end
  server.call = call
  if message.method == "CANCEL" then take_cancel(self, server) end
  if server.final then return end
  self:note(message, server.call, server, at)
  by_habit(self, server)
end

-- Something has arrived at this phone.
function Phone:take(message, transport, ip, port, at)
  if type(message) == "string" then return self:note(message, nil, nil, at) end
  if message.is_request then return take_request(self, message, transport, ip, port, at) end
  take_answer(self, message, at)
end

function Phone:note(message, call, origin, at, remark)
  self.inbox[#self.inbox + 1] = { message = message, call = call, origin = origin, at = at, remark = remark }
end

phone.request, phone.send_behind, phone.ack_success, phone.fail = request, send_behind, ack_success, fail
phone.Request, phone.Response, phone.Sent = Request, Response, Sent
native.phone = phone
