-- A recorded call, run again with a dial plan. The parties do what they did, at the same distance in time from what they hear; web servers
-- and stores say what they said. What siphook does is compared.
local native = ...
local plan, phone, sip, http, reader = native.plan, native.phone, native.sip, native.web, native.record
local without_copies = reader.without_copies

local TOLERANCE = 500000                           -- microseconds by which a decision may come at another time
local LINGER = 5                                   -- seconds after the last recorded message

---------------------------------------------------------------------------------------------- decisions

-- What siphook decided: the calls that it made and how it answered the caller, and requests of its own in the call.
-- entries: {at, incoming, message, party, initial = the INVITE was the call's first}
local function decisions(entries)
  local out = {}
  for _, entry in ipairs(without_copies(entries)) do
    local m = entry.message
    if not entry.incoming and m.is_request and m.method ~= "ACK" then
      local first = m.method == "INVITE" and not m.to_tag
      local who = ("%s to %s"):format(m.method, entry.party)
      out[#out + 1] = { at = entry.at, key = first and who .. " " .. (m.uri and m.uri.user or "") or who,
                        text = first and ("calls %s at %s"):format(m.raw_uri, entry.party) or "sends " .. who }
    elseif not entry.incoming and not m.is_request and m.code > 100 and m.method == "INVITE" and entry.caller then
      local key = ("answer %d"):format(m.code)
      out[#out + 1] = { at = entry.at, key = key, text = ("answers the caller %d %s"):format(m.code, m.reason) }
    end
  end
  return out
end

-- Longest common sequence of keys: lists of {recorded, replayed}, either of which may be missing.
local function align(a, b)
  local length = {}
  for i = #a + 1, 1, -1 do
    length[i] = {}
    for j = #b + 1, 1, -1 do
      if i > #a or j > #b then length[i][j] = 0
      elseif a[i].key == b[j].key then length[i][j] = length[i + 1][j + 1] + 1
      else length[i][j] = math.max(length[i + 1][j], length[i][j + 1]) end
    end
  end
  local pairs_, i, j = {}, 1, 1
  while i <= #a or j <= #b do
    if i <= #a and j <= #b and a[i].key == b[j].key then
      pairs_[#pairs_ + 1] = { a[i], b[j] }
      i, j = i + 1, j + 1
    elseif j > #b or (i <= #a and length[i + 1][j] >= length[i][j + 1]) then
      pairs_[#pairs_ + 1] = { a[i], nil }
      i = i + 1
    else
      pairs_[#pairs_ + 1] = { nil, b[j] }
      j = j + 1
    end
  end
  return pairs_
end

---------------------------------------------------------------------------------------------- acting

local engine_headers = { via = true, from = true, to = true, ["call-id"] = true, cseq = true, contact = true, ["max-forwards"] = true,
                         ["content-length"] = true, ["content-type"] = true, route = true, ["record-route"] = true, authorization = true,
                         ["proxy-authorization"] = true, ["user-agent"] = true, allow = true, supported = true, server = true, rseq = true,
                         rack = true }

-- The header fields that the party itself had to say.
local function own_headers(message)
  local headers = {}
  for _, line in ipairs(message:lines()) do
    local name, value = line[1], line[2]
    if not engine_headers[name:lower()] then reader.add(headers, name, value) end
  end
  return headers
end

local function body_of(message)
  if not message.body then return { sdp = false, headers = own_headers(message) } end
  return { body = message.body, content_type = message.content_type, headers = own_headers(message) }
end

-- What a party said in a leg after the set-up, at its distance from `zero`.
local function act_later(p, leg, call, zero, after)
  for _, entry in ipairs(without_copies(leg.entries)) do
    local m = entry.message
    if entry.incoming and m.is_request and entry.at > zero and m.method ~= "ACK" and m.method ~= "CANCEL" and m.method ~= "PRACK" and m.to_tag then
      p:after(entry.at - zero + after, function()
        if call.over then return end
        if m.method == "BYE" then
          call:bye{ headers = own_headers(m) }
        else
          local o = body_of(m)
          o.contact = call.phone.contact
          call:request(m.method, o)
        end
      end)
    end
  end
end

-- The answers of a party to a request of siphook, as recorded: by method, in order.
local function answers_of(leg, method, initial)
  local list = {}
  local cseq
  for _, entry in ipairs(without_copies(leg.entries)) do
    local m = entry.message
    if not entry.incoming and m.is_request and m.method == method and (m.to_tag == nil) == initial and not leg.used[entry] then
      if cseq then break end
      cseq, list.at = m.cseq, entry.at
      leg.used[entry] = true
    elseif cseq and entry.incoming and not m.is_request and m.method == method and m.cseq == cseq then
      list[#list + 1] = entry
    end
  end
  return list
end

local function play_answers(p, call, request, list)
  for _, entry in ipairs(list) do
    p:after(math.max(entry.at - list.at, 0), function()
      if request.final then return end
      local o = body_of(entry.message)
      o.reason = entry.message.reason
      if entry.message.code < 200 and o.sdp == false then o.sdp = nil end
      phone.answer(call.phone, request, entry.message.code, o)
      if entry.message.code >= 200 and entry.message.code < 300 and request.leg then
        act_later(p, request.leg, call, entry.at, 0)
      end
    end)
  end
end

-- An INVITE of siphook has come to a party: it becomes the first recorded leg that went there and that nobody has taken yet.
local function take_invite(run, who, call)
  for i, leg in ipairs(run.record.calls) do
    if i > 1 and not leg.taken and leg.remote == who.remote and leg.invite and not leg.invite.incoming then
      leg.taken, leg.used = true, {}
      call.server.leg, call.recorded = leg, leg
      return play_answers(run.plan, call, call.server, answers_of(leg, "INVITE", true))
    end
  end
  phone.answer(who, call.server, 480, { reason = "Not in the record" })
end

local function take_request(run, entry)
  local server, leg = entry.origin, entry.call and entry.call.recorded
  local list = leg and answers_of(leg, entry.message.method, false) or {}
  if #list == 0 then
    return phone.answer(entry.call.phone, server, 200, {})
  end
  play_answers(run.plan, entry.call, server, list)
end

-- Looks at what has come to the parties since the last time.
local function react(run)
  for _, who in ipairs(run.plan.parties) do
    for _, entry in ipairs(who.inbox) do
      local m = entry.message
      if not entry.consumed and type(m) ~= "string" then
        entry.consumed = true
        if m.is_request and m.method == "INVITE" and not m.to_tag then
          take_invite(run, who, entry.call)
        elseif m.is_request and m.method ~= "ACK" and m.method ~= "CANCEL" and m.method ~= "BYE" and entry.call then
          take_request(run, entry)
        elseif not m.is_request and m.method == "INVITE" and m.code >= 200 and m.code < 300 then
          phone.ack_success(who, m, entry.origin, entry.origin.ack_options)
          if entry.call == run.call and not run.up then
            run.up = true
            act_later(run.plan, run.record.caller, run.call, run.answered_at, 0)
          end
        end
      end
    end
  end
end

---------------------------------------------------------------------------------------------- the run

local function make_parties(run)
  local record, p = run.record, run.plan
  local by_remote = {}
  local function party(remote, transport, name)
    if by_remote[remote] then return by_remote[remote] end
    local ip, port = reader.address(remote)
    local who = p:phone(name or remote, { ip = ip, port = port, transport = transport == "tcp" and "tcp" or "udp", user = name or "party" })
    who.remote, by_remote[remote] = remote, who
    return who
  end
  run.party = party
  for _, binding in ipairs(record.registrations) do
    local user, domain = binding.aor:match "^sips?:([^@]+)@(.+)$"
    if user then
      local who = party(binding.source, binding.transport, user)
      who.domain, who.aor, who.login, who.password = domain, binding.aor, user, "believed"
      local good, why = pcall(who.register, who, { contact = binding.contact, to = binding.aor })
      if not good then run.tell(("the dial plan does not let %s register: %s"):format(binding.aor, tostring(why))) end
    end
  end
  for _, leg in ipairs(record.calls) do party(leg.remote, leg.transport) end
end

local function call_out(run)
  local caller = run.record.caller
  local who, first = run.party(caller.remote, caller.transport), caller.invite.message
  local o = body_of(first)
  who.password, who.login = "believed", first.from and first.from.user or "caller"
  for _, entry in ipairs(caller.entries) do                        -- a password that was shown says under which name
    local shown = entry.message["Proxy-Authorization"] or entry.message.Authorization
    who.login = shown and shown:match 'username="([^"]*)"' or who.login
    if entry.incoming and entry.message.method == "ACK" and entry.message.body then run.late_answer = entry.message.body end
    if not entry.incoming and not entry.message.is_request and entry.message.method == "INVITE" and entry.message.code // 100 == 2 then
      run.answered_at = run.answered_at or entry.at
    end
  end
  run.answered_at = run.answered_at or 0
  o.from, o.to, o.contact = sip.without_tag(first.From), sip.without_tag(first.To), who.contact
  run.call = who:invite(first.raw_uri, o)
  run.call.recorded, caller.used = caller, {}
  run.call.invite.ack_options = run.late_answer and { body = run.late_answer, content_type = "application/sdp" } or nil
  for _, entry in ipairs(caller.entries) do
    if entry.incoming and entry.message.method == "CANCEL" then
      run.plan:after(entry.at - caller.invite.at, function()
        if not run.call.invite.final then run.call:cancel() end
      end)
      break
    end
  end
end

-- The script's line that came last before `at`; a request to a web server is of one of its verbs, all else of the others.
local function line_before(events, at, web)
  local found
  for _, event in ipairs(events) do
    if event.verb and event.at <= at and web == (event.verb:find "^sip%.http%." ~= nil) then found = event end
  end
  return found and ("  (%s:%d: %s)"):format(found.file:match "[^/]*$", found.line, found.verb) or ""
end

-- What was asked of web servers, as decisions.
local function questions(asks)
  local out = {}
  for i, ask in ipairs(asks) do
    local what = (ask.method == "GET" and "" or ask.method .. " ") .. ask.url
    out[i] = { at = ask.at, key = what, web = true, text = "asks " .. what .. (ask.unknown and ", which the record does not know" or "") }
  end
  return out
end

local function compare(run)
  local record, p, started = run.record, run.plan, run.started
  local old, new, asked = {}, {}, {}
  for _, entry in ipairs(record.entries) do
    old[#old + 1] = { at = entry.at, incoming = entry.incoming, message = entry.message, party = entry.leg.remote, caller = entry.leg == record.caller }
  end
  local wire = p:messages()
  for i = run.first_wire, #wire do
    local entry = wire[i]
    if type(entry.message) ~= "string" then
      new[#new + 1] = { at = entry.at - started, incoming = entry.sent, message = entry.message, party = entry.phone.remote,
                        caller = entry.message.call_id == run.call.id }
    end
  end
  for _, request in ipairs(p.requests) do
    if request.of_call then
      asked[#asked + 1] = { at = request.at - started, method = request.method, url = http.bare(request.url), unknown = request.unknown }
    end
  end
  local events, differences, lines = p:events(), 0, align(decisions(old), decisions(new))
  for _, pair in ipairs(align(questions(record.asks), questions(asked))) do lines[#lines + 1] = pair end
  for i, pair in ipairs(lines) do
    local was, is = pair[1], pair[2]
    pair.place, pair.at = i, (is or was).at
  end
  table.sort(lines, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.place < b.place
  end)
  for _, pair in ipairs(lines) do
    local was, is = pair[1], pair[2]
    local mark, text = " ", (is or was).text
    local more = is and line_before(events, is.at + started, is.web == true) or ""
    if not is then
      mark, differences = "-", differences + 1
    elseif not was then
      mark, differences = "+", differences + 1
    elseif math.abs(was.at - is.at) > TOLERANCE then
      mark, differences = "~", differences + 1
      more = ("  (recorded at %.3f)%s"):format(was.at / 1e6, more)
    end
    run.tell(("%s %9.3f  %s%s"):format(mark, pair.at / 1e6, text, more))
  end
  return differences
end

---------------------------------------------------------------------------------------------- what the call learns from outside

local WAY = 1000                                   -- microseconds to a web server of the virtual network

-- Whether a hook of a call has made this request: what the script did is told in the order in which the requests come.
local function of_call(run, request)
  local events = run.plan:events()
  for i = run.asked + 1, #events do
    local event = events[i]
    if event.verb and event.verb:find "^sip%.http%." and event.at == request.at - WAY then
      run.asked = i
      return event.call ~= ""
    end
  end
  return false
end

-- The recorded answers to the same request, one after the other, and the last one again and again.
local function serve(run, request)
  local known = run.answers[request.method .. " " .. http.bare(request.url)]
  request.of_call = run.plan ~= nil and of_call(run, request)
  if known then
    local ask = known[math.min(known.given + 1, #known)]
    if request.of_call then known.given = known.given + 1 end
    return reader.answer(ask) or { error = "failed", detail = "the answer was too long for the record" }
  end
  request.unknown = true
  if request.of_call then return { error = "failed", detail = "the record does not know this request" } end
  return { error = "failed", detail = "no hook of the recorded call has made this request" }
end

local function answers_by_request(asks)
  local answers = {}
  for _, ask in ipairs(asks) do
    local key = ask.method .. " " .. ask.url
    answers[key] = answers[key] or { given = 0 }
    table.insert(answers[key], ask)
  end
  return answers
end

-- What the hooks found in shared stores is there again when the call begins.
local function fill_stores(run)
  for _, key in ipairs(run.record.shared) do
    if key.cut then
      run.tell(("what %s[%q] held was too long for the record"):format(key.store, key.key))
    else
      local value = key.values
      if value and not key.list then value = value[1] end
      plan.set_shared(run.plan.world, key.store, key.key, value, key.left)
    end
  end
end

---------------------------------------------------------------------------------------------- all of it

-- Runs the record with the script; tells each decision: unmarked where both agree, "-" only recorded, "+" only now, "~" at another time.
-- The number of differences.
function native.replay(text, script, seed, config, tell)
  local record = reader.read(text)
  local run = { record = record, tell = tell, answers = answers_by_request(record.asks), asked = 0 }
  run.plan = plan.load(script or record.script, {
    seed = seed, config = config, patience = 2, domain = record.domains[1], credulous = true, address = record.host, port = record.port,
    http = function(request) return serve(run, request) end,
  })
  local p = run.plan
  make_parties(run)
  fill_stores(run)
  run.first_wire, run.started = #p.wire + 1, p.world:now()
  call_out(run)
  local last = record.entries[#record.entries].at
  local stop = run.started + last + LINGER * 1000000
  repeat
    local more = p:step(stop)
    react(run)
  until not more
  local differences = compare(run)
  if record.cut then tell "the record is not whole: something was too large for it" end
  tell(differences == 0 and "no difference" or ("%d difference%s"):format(differences, differences == 1 and "" or "s"))
  p:drop()
  return differences
end
