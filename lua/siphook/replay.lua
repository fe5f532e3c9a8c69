-- A recorded call: run again with a dial plan, or written down as a test case. The parties do what they did, at the same distance in time
-- from what they hear; what siphook does is compared.
local native = ...
local plan, phone, sip = native.plan, native.phone, native.sip

local TOLERANCE = 500000                           -- microseconds by which a decision may come at another time
local LINGER = 5                                   -- seconds after the last recorded message

---------------------------------------------------------------------------------------------- reading

local function address(text)
  local host, port = text:match "^(.*):(%d+)$"
  return host:gsub("[%[%]]", ""), tonumber(port)
end

-- The legs of a record: the caller's first. A leg: {id, remote, transport, entries = {{at, incoming, message}}, invite = the first entry}
local function read(text)
  local record, _, why = native.json.decode(text)
  if type(record) ~= "table" or record.siphook_record ~= 1 then
    native.fail(nil, "this is no record of siphook" .. (why and ": " .. why or ""))
  end
  local legs, by_id, entries = {}, {}, {}
  for _, m in ipairs(record.messages) do
    local message = native.message(m.text)
    if message then
      local leg = by_id[message.call_id]
      if not leg then
        leg = { id = message.call_id, remote = m.remote, transport = m.transport, entries = {} }
        by_id[leg.id] = leg
        legs[#legs + 1] = leg
      end
      local entry = { at = m.at, incoming = m["in"], message = message, leg = leg }
      leg.entries[#leg.entries + 1], entries[#entries + 1] = entry, entry
      if message.method == "INVITE" and message.is_request then leg.invite = leg.invite or entry end
    end
  end
  local caller = by_id[record.legs[1]]
  if not caller or not caller.invite then native.fail(nil, "the record has no INVITE of a caller") end
  record.calls, record.entries, record.caller = legs, entries, caller
  -- Where siphook was: what it wrote into the Via of its requests, else where the caller's INVITE went.
  for _, entry in ipairs(entries) do
    if not entry.incoming and entry.message.is_request then
      record.host, record.port = entry.message.Via:match "^%S+ (%[?[^;]-%]?):?(%d*);"
      record.host, record.port = record.host:gsub("[%[%]]", ""), tonumber(record.port) or 5060
      break
    end
  end
  if not record.host or not record.host:find "^[%d.]+$" and not record.host:find ":" then record.host, record.port = nil, nil end
  return record
end

-- Retransmissions say nothing new.
local function without_copies(entries)
  local seen, out = {}, {}
  for _, entry in ipairs(entries) do
    local key = (entry.incoming and "in " or "out ") .. entry.message.text
    if not seen[key] then out[#out + 1] = entry end
    seen[key] = true
  end
  return out
end

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
    if not engine_headers[name:lower()] then
      local before = headers[name]
      headers[name] = before and (type(before) == "table" and { table.unpack(before), value } or { before, value }) or value
    end
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
    local ip, port = address(remote)
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

-- The script's line that came last before `at`.
local function line_before(events, at)
  local found
  for _, event in ipairs(events) do
    if event.verb and event.at <= at then found = event end
  end
  return found and ("  (%s:%d: %s)"):format(found.file:match "[^/]*$", found.line, found.verb) or ""
end

local function compare(run)
  local record, p, started = run.record, run.plan, run.started
  local old, new = {}, {}
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
  local events, differences = p:events(), 0
  for _, pair in ipairs(align(decisions(old), decisions(new))) do
    local was, is = pair[1], pair[2]
    local mark, at, text = " ", (is or was).at, (is or was).text
    local more = is and line_before(events, is.at + started) or ""
    if not is then
      mark, differences = "-", differences + 1
    elseif not was then
      mark, differences = "+", differences + 1
    elseif math.abs(was.at - is.at) > TOLERANCE then
      mark, differences = "~", differences + 1
      more = ("  (recorded at %.3f)%s"):format(was.at / 1e6, more)
    end
    run.tell(("%s %9.3f  %s%s"):format(mark, at / 1e6, text, more))
  end
  return differences
end

-- Runs the record with the script; tells each decision: unmarked where both agree, "-" only recorded, "+" only now, "~" at another time.
-- The number of differences.
function native.replay(text, script, seed, config, tell)
  local record = read(text)
  local p = plan.load(script or record.script, { seed = seed, config = config, patience = 2, domain = record.domains[1], credulous = true,
                                                 address = record.host, port = record.port })
  local run = { record = record, plan = p, tell = tell }
  make_parties(run)
  run.first_wire, run.started = #p.wire + 1, p.world:now()
  call_out(run)
  local last = record.entries[#record.entries].at
  local stop = run.started + last + LINGER * 1000000
  repeat
    local more = p:step(stop)
    react(run)
  until not more
  local differences = compare(run)
  tell(differences == 0 and "no difference" or ("%d difference%s"):format(differences, differences == 1 and "" or "s"))
  p:drop()
  return differences
end

---------------------------------------------------------------------------------------------- a test case of it

local function name_for(used, text)
  local name = text:gsub("[^%w]", "_"):gsub("^(%d)", "_%1")
  while used[name] do name = name .. "_" end
  used[name] = true
  return name
end

-- The words of a test for one message; nil: nothing needs to be said about it.
local function words_for(entry, record, party, call)
  local m, leg = entry.message, entry.leg
  local from_caller = leg == record.caller
  local mine = from_caller and "out" or call[leg]
  if entry.incoming and m.is_request then
    if m.method == "BYE" then return ("%s:bye()"):format(mine) end
    if m.method == "CANCEL" then return ("%s:cancel()"):format(mine) end
    if m.method == "INVITE" and m.to_tag then return ("%s:reinvite()"):format(mine) end
    if m.method == "INFO" or m.method == "MESSAGE" then return ("%s:%s(%q)"):format(mine, m.method:lower(), m.body or "") end
    return nil
  elseif entry.incoming then
    if m.method ~= "INVITE" or from_caller or m.code == 100 then return nil end
    if m.code // 100 == 2 then return mine .. (leg.invite and not leg.invite.message.body and ":answer{ sdp = true }" or ":answer()") end
    return ("%s:reply(%d)"):format(mine, m.code)
  elseif m.is_request then
    if m.method == "INVITE" and not m.to_tag then
      return ("local %s = %s:expect(\"INVITE\", { uri = %q })"):format(mine, party[leg.remote],
        "^sip:" .. (m.uri.user or ""):gsub("%p", "%%%0"))
    end
    if m.method == "INVITE" and from_caller then -- in the call: what the caller said to it is the other half of the line
      for _, other in ipairs(leg.entries) do
        local said = other.message
        if other.incoming and not said.is_request and said.cseq == m.cseq and said.method == "INVITE" and said.code >= 200 then
          return ("out:expect(\"INVITE\"):%s"):format(said.code < 300 and "answer()" or ("reply(%d)"):format(said.code))
        end
      end
    end
    if m.method == "BYE" or m.method == "CANCEL" or m.method == "INVITE" then return ("%s:expect %q"):format(mine, m.method) end
    return nil
  end
  if not from_caller or m.method ~= "INVITE" or m.code == 100 or m.code == 401 or m.code == 407 or m.to_tag == nil then return nil end
  return m.code // 100 == 2 and ("out:expect(%d):ack()"):format(m.code) or ("out:expect(%d)"):format(m.code)
end

-- A test file with one case, a line each to tell().
function native.make_case(text, script, tell)
  local record = read(text)
  local used, party, call, registered = { t = true, plan = true, out = true }, {}, {}, {}
  local first = record.caller.invite.message
  local function who_of(uri) return uri and uri.user or "somebody" end
  tell 'local t = require "siphook.test"'
  tell ""
  tell(("-- Made of the record of a call, %s. Passwords and the contents of stores are not in a record: add them to shared."):format(
    os.date("!%Y-%m-%d %H:%M:%S UTC", record.began // 1000000)))
  tell(("t.case(%q, function()"):format(who_of(first.from) .. " calls " .. who_of(first.uri)))
  tell(("  local plan = t.load(%q, { shared = {} })"):format((script or record.script):match "[^/]*$"))
  local function declare(remote, name, words)
    party[remote] = name_for(used, name)
    tell(("  local %s = %s"):format(party[remote], words))
  end
  for _, binding in ipairs(record.registrations) do
    local user = binding.aor:match "^sips?:([^@]+)@"
    if user and not party[binding.source] then
      declare(binding.source, user, ("plan:phone(%q, { password = \"?\" })"):format(user))
      registered[#registered + 1] = party[binding.source]
    end
  end
  for i, leg in ipairs(record.calls) do
    if not party[leg.remote] and i == 1 then
      declare(leg.remote, who_of(first.from), ("plan:phone(%q, { password = \"?\" })"):format(who_of(first.from)))
    elseif not party[leg.remote] then
      declare(leg.remote, "peer" .. i, ("plan:peer %q"):format((leg.remote:gsub(":5060$", ""))))
    end
    call[leg] = name_for(used, "leg" .. i)
  end
  for _, name in ipairs(registered) do tell(("  %s:register()"):format(name)) end
  local target = first.uri and first.uri.user
  local near = record.host and first.raw_uri:find(record.host, 1, true)
  tell(("  local out = %s:invite %q"):format(party[record.caller.remote], near and target or target and #record.domains > 0 and target or first.raw_uri))
  local at = record.caller.invite.at
  for _, entry in ipairs(without_copies(record.entries)) do
    local words = entry ~= record.caller.invite and words_for(entry, record, party, call)
    if words and not (entry.incoming and entry.message.method == "INVITE" and entry.message.is_request and not entry.message.to_tag) then
      if entry.at - at > TOLERANCE then tell(("  plan:advance(%g)"):format(math.floor((entry.at - at) / 100000 + 0.5) / 10)) end
      at = entry.at
      tell("  " .. words)
    end
  end
  tell "end)"
end
