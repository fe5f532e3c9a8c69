-- A recorded call, written down as a test case.
local native = ...
local reader = native.record
local without_copies = reader.without_copies

local TOLERANCE = 500000                           -- microseconds between two lines that need no plan:advance

local keywords = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while"):gmatch "%a+" do
  keywords[word] = true
end

local function name_for(used, text)
  local name = text:gsub("[^%w]", "_"):gsub("^(%d)", "_%1")
  if name == "" or keywords[name] then name = name .. "_" end
  while used[name] do name = name .. "_" end
  used[name] = true
  return name
end

-- An INVITE in the call: what its sender said about media, and the words that answer it, as the other party did.
local function offer_words(m)
  local direction = (m.body or ""):match "a=(sendonly)" or (m.body or ""):match "a=(recvonly)" or (m.body or ""):match "a=(inactive)"
  return direction and ("{ direction = %q }"):format(direction) or m.body and "()" or "{ sdp = false }"
end

local function answer_to(m, leg)
  for _, entry in ipairs(leg.entries) do
    local said = entry.message
    if entry.incoming and not said.is_request and said.method == "INVITE" and said.cseq == m.cseq and said.code >= 200 then
      if said.code >= 300 then return (":reply(%d)"):format(said.code) end
      return m.body and ":answer()" or ":answer{ sdp = true }"
    end
  end
  return ""
end

-- The words of a test for one message; nil: nothing needs to be said about it. names: of the legs, and of INVITEs in the call by leg and CSeq.
local function words_for(entry, record, party, names, used)
  local m, leg = entry.message, entry.leg
  local from_caller = leg == record.caller
  local mine = from_caller and "out" or names[leg]
  local transaction = ("%s %s %s"):format(leg.id, m.is_request == entry.incoming and "theirs" or "ours", m.cseq)
  if entry.incoming and m.is_request then
    if m.method == "BYE" then return ("%s:bye()"):format(mine) end
    if m.method == "CANCEL" then return ("%s:cancel()"):format(mine) end
    if m.method == "INVITE" and m.to_tag then
      names[transaction] = name_for(used, "again")
      return ("local %s = %s:reinvite%s"):format(names[transaction], mine, offer_words(m))
    end
    if m.method == "INFO" or m.method == "MESSAGE" then return ("%s:%s(%q)"):format(mine, m.method:lower(), m.body or "") end
    return nil
  elseif entry.incoming then
    if m.method ~= "INVITE" or from_caller or m.code == 100 or names[transaction] then return nil end
    if m.code // 100 == 2 then return mine .. (leg.invite and not leg.invite.message.body and ":answer{ sdp = true }" or ":answer()") end
    return ("%s:reply(%d)"):format(mine, m.code)
  elseif m.is_request then
    if m.method == "INVITE" and not m.to_tag then
      return ("local %s = %s:expect(\"INVITE\", { uri = %q })"):format(mine, party[leg.remote],
        "^sip:" .. (m.uri and m.uri.user or ""):gsub("%p", "%%%0"))
    end
    if m.method == "INVITE" then
      names[transaction] = mine
      return ("%s:expect(\"INVITE\")%s"):format(mine, answer_to(m, leg))
    end
    if m.method == "BYE" or m.method == "CANCEL" then return ("%s:expect %q"):format(mine, m.method) end
    return nil
  end
  local again = names[transaction]
  if m.method ~= "INVITE" or m.code == 100 or m.to_tag == nil or not again and (not from_caller or m.code == 401 or m.code == 407) then return nil end
  return (m.code // 100 == 2 and "%s:expect(%d):ack()" or "%s:expect(%d)"):format(again or "out", m.code)
end

-- As Lua writes it.
local function literal(value)
  if math.type(value) == "float" then
    return value ~= value and "0/0" or value == math.huge and "math.huge" or value == -math.huge and "-math.huge" or ("%.17g"):format(value):gsub("^-?%d+$", "%0.0")
  end
  return type(value) == "string" and (("%q"):format(value):gsub("\\\n", "\\n"):gsub("\r", "\\r")) or tostring(value)
end

local function sorted(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- What the hooks found in shared stores. After the load: what the dial plan's top level writes is older.
local function tell_stores(record, tell)
  for _, key in ipairs(record.shared) do
    local values = {}
    for i, value in ipairs(key.values or {}) do values[i] = literal(value) end
    if key.values then
      tell(("  plan:shared(%s):set(%s, %s)"):format(literal(key.store), literal(key.key), key.list and "{ " .. table.concat(values, ", ") .. " }" or values[1]))
    elseif key.cut then
      tell(("  -- what %s held at %s was too long for the record"):format(literal(key.store), literal(key.key)))
    end
  end
end

local function answer_words(ask)
  local answer = reader.answer(ask)
  if not answer then return "500" end
  local words = {}
  if answer.error then words[1] = "error = " .. literal(answer.error) end
  if answer.error and answer.detail and answer.detail ~= answer.error then words[2] = "detail = " .. literal(answer.detail) end
  if not answer.error then
    words[1] = "status = " .. answer.status
    local headers = {}
    for _, name in ipairs(sorted(answer.headers)) do
      local value, list = answer.headers[name], {}
      for i, one in ipairs(type(value) == "table" and value or { value }) do list[i] = literal(one) end
      headers[#headers + 1] = ("[%s] = %s"):format(literal(name), #list > 1 and "{ " .. table.concat(list, ", ") .. " }" or list[1])
    end
    if #headers > 0 then words[#words + 1] = "headers = { " .. table.concat(headers, ", ") .. " }" end
    if answer.body ~= "" then words[#words + 1] = "body = " .. literal(answer.body) end
  end
  if (answer.delay or 0) >= 0.001 then words[#words + 1] = ("delay = %.3f"):format(answer.delay) end
  return "{ " .. table.concat(words, ", ") .. " }"
end

-- The option `http`: what web servers answered, by request.
local function tell_servers(record, tell)
  local answers, requests = {}, {}
  for _, ask in ipairs(record.asks) do
    local request = ask.method .. " " .. ask.url
    if not answers[request] then answers[request], requests[#requests + 1] = {}, request end
    table.insert(answers[request], answer_words(ask))
  end
  tell "    http = {"
  for _, request in ipairs(requests) do
    local list = answers[request]
    if #list == 1 then
      tell(("      [%s] = %s,"):format(literal(request), list[1]))
    else
      tell(("      [%s] = in_turn{"):format(literal(request)))
      for _, words in ipairs(list) do tell("        " .. words .. ",") end
      tell "      },"
    end
  end
  tell "    },"
end

local IN_TURN = [[
-- One answer after the other, and the last one again and again.
local function in_turn(answers)
  local given = 0
  return function()
    given = math.min(given + 1, #answers)
    return answers[given]
  end
end
]]

local function asks_twice(record)
  local seen = {}
  for _, ask in ipairs(record.asks) do
    local request = ask.method .. " " .. ask.url
    if seen[request] then return true end
    seen[request] = true
  end
  return false
end

-- A test file with one case, a line each to tell().
function native.make_case(text, script, tell)
  local record = reader.read(text)
  local used, party, call, registered = { t = true, plan = true, out = true }, {}, {}, {}
  local first = record.caller.invite.message
  local function who_of(uri) return uri and uri.user or "somebody" end
  tell 'local t = require "siphook.test"'
  tell ""
  if asks_twice(record) then tell(IN_TURN) end
  tell(("-- Made of the record of a call, %s. The passwords that phones show are not in a record: they are believed.%s"):format(
    os.date("!%Y-%m-%d %H:%M:%S UTC", record.began // 1000000), record.cut and " Something was too large for the record: it is not whole." or ""))
  tell(("t.case(%q, function()"):format(who_of(first.from) .. " calls " .. who_of(first.uri)))
  local file = (script or record.script):match "[^/]*$"
  if #record.asks > 0 then
    tell(("  local plan = t.load(%q, {"):format(file))
    tell "    credulous = true,"
    tell_servers(record, tell)
    tell "  })"
  else
    tell(("  local plan = t.load(%q, { credulous = true })"):format(file))
  end
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
  tell_stores(record, tell)
  local target = first.uri and first.uri.user
  local near = record.host and first.raw_uri:find(record.host, 1, true)
  tell(("  local out = %s:invite %q"):format(party[record.caller.remote], near and target or target and #record.domains > 0 and target or first.raw_uri))
  local at = record.caller.invite.at
  for _, entry in ipairs(without_copies(record.entries)) do
    local words = entry ~= record.caller.invite and words_for(entry, record, party, call, used)
    if words and not (entry.incoming and entry.message.method == "INVITE" and entry.message.is_request and not entry.message.to_tag) then
      if entry.at - at > TOLERANCE then tell(("  plan:advance(%g)"):format(math.floor((entry.at - at) / 100000 + 0.5) / 10)) end
      at = entry.at
      tell("  " .. words)
    end
  end
  tell "end)"
end
