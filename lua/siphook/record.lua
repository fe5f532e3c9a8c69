-- A record of `siphook record`, read: nothing in it is believed. What is missing or of a wrong type is an error that names it.
--
-- record: {script, domains, began, host, port, cut, registrations = {{aor, source, transport, contact}},
--   calls = its legs, the caller's first, and caller = that: {id, remote, transport, entries, invite = the first entry},
--   entries = {{at, incoming, message, leg}}: all messages,
--   asks = {{at, method, url, took | nil (nobody waited for the answer), cut, error, detail | status, headers = {{name, value}}, body}},
--   shared = {{store, key, cut, list, left, values = {...} | nil (nothing was there)}}}
-- Times are microseconds after the first message.
local native = ...

local LONGEST = 30 * 86400 * 1000000               -- microseconds of a record: replaying them takes time
local MOST = 10000                                 -- entries of a list
local reader = {}

local function refuse(what)
  native.fail(nil, "this is no record of siphook: " .. what)
end

local function field(table_, key, kind, what, fallback)
  local value = table_[key]
  if value == nil and fallback ~= nil then return fallback end
  if type(value) ~= kind then refuse(("%s: '%s': %s expected, got %s"):format(what, key, kind, value == nil and "nothing" or type(value))) end
  return value
end

local function whole(table_, key, what, most, fallback)
  local value = field(table_, key, "number", what, fallback)
  if math.type(value) ~= "integer" or value < 0 or value > most then refuse(("%s: '%s': 0 to %d expected"):format(what, key, most)) end
  return value
end

-- A list of tables, or of texts.
local function list(table_, key, kind, fallback)
  local values = field(table_, key, "table", "the record", fallback)
  if #values > MOST then refuse(("'%s' has more than %d entries"):format(key, MOST)) end
  for i = 1, #values do
    if type(values[i]) ~= kind then refuse(("%s %d: %s expected, got %s"):format(key, i, kind, type(values[i]))) end
  end
  return values
end

-- Octets that are no text stand there in base64.
local function octets(table_, key, what, fallback)
  local coded = table_[key .. "64"]
  if coded == nil then return field(table_, key, "string", what, fallback) end
  local text = type(coded) == "string" and native.base64.decode(coded)
  return text or refuse(("%s: '%s64' is no base64"):format(what, key))
end

-- "10.0.0.1:5060", "[2001:db8::1]:5060"
function reader.address(text)
  local host, port = text:match "^%[?([%x.:]+)%]?:(%d+)$"
  port = tonumber(port)
  if not host or port < 1 or port > 65535 then refuse(("'%s' is no address with a port"):format(text)) end
  return host, port
end

local function read_messages(record)
  local legs, by_id, entries = {}, {}, {}
  for i, m in ipairs(list(record, "messages", "table")) do
    local what = ("message %d"):format(i)
    local message = native.message(field(m, "text", "string", what))
    if message and message.call_id then
      local leg = by_id[message.call_id]
      if not leg then
        leg = { id = message.call_id, remote = field(m, "remote", "string", what), transport = field(m, "transport", "string", what), entries = {} }
        reader.address(leg.remote)
        by_id[leg.id] = leg
        legs[#legs + 1] = leg
      end
      local entry = { at = whole(m, "at", what, LONGEST), incoming = field(m, "in", "boolean", what), message = message, leg = leg }
      leg.entries[#leg.entries + 1], entries[#entries + 1] = entry, entry
      if message.method == "INVITE" and message.is_request then leg.invite = leg.invite or entry end
    end
  end
  local caller = by_id[list(record, "legs", "string")[1]]
  if not caller or not caller.invite then native.fail(nil, "the record has no INVITE of a caller") end
  return legs, entries, caller
end

-- Where siphook was: what it wrote into the Via of its requests.
local function read_place(entries)
  for _, entry in ipairs(entries) do
    if not entry.incoming and entry.message.is_request then
      local host, port = (entry.message.Via or ""):match "^%S+ (%[?[^;]-%]?):?(%d*);"
      host = host and host:gsub("[%[%]]", "")
      if not host or not host:find "^[%d.]+$" and not host:find ":" then return nil end
      return host, tonumber(port) or 5060
    end
  end
end

local function read_headers(lines)
  local headers = {}
  for line in lines:gmatch "[^\r\n]+" do
    local name, value = line:match "^([^:%s]+)%s*:%s*(.-)%s*$"
    if name then headers[#headers + 1] = { name, value } end
  end
  return headers
end

local function read_ask(ask, i)
  local what = ("http %d"):format(i)
  local out = { at = whole(ask, "at", what, LONGEST), method = octets(ask, "method", what), url = octets(ask, "url", what), cut = ask.cut == true }
  if ask.took == nil then return out end
  out.took = whole(ask, "took", what, LONGEST)
  if ask.error ~= nil then
    out.error, out.detail = field(ask, "error", "string", what), octets(ask, "detail", what, "")
  else
    out.status, out.body = whole(ask, "status", what, 999), octets(ask, "body", what, "")
    out.headers = read_headers(octets(ask, "headers", what, ""))
  end
  return out
end

local function read_value(value, what)
  if type(value) ~= "table" then refuse(what .. ": values are tables") end
  if value.boolean ~= nil then return field(value, "boolean", "boolean", what) end
  if value.integer ~= nil then
    local n = field(value, "integer", "number", what)
    return math.type(n) == "integer" and n or refuse(what .. ": 'integer' is none")
  end
  if value.float ~= nil then return type(value.float) == "number" and value.float + 0.0 or 0 / 0 end
  return octets(value, "text", what)
end

local function read_key(key, i)
  local what = ("shared %d"):format(i)
  local out = { store = octets(key, "store", what), key = octets(key, "key", what), cut = key.cut == true, list = key.list == true }
  if #out.store < 1 or #out.store > 64 or #out.key > 1024 then refuse(what .. ": no name of a store, or a key that is too long") end
  out.left = key.left ~= nil and whole(key, "left", what, math.maxinteger) or nil
  if key.values == nil then return out end
  out.values = {}
  for n, value in ipairs(field(key, "values", "table", what)) do
    if n > MOST then refuse(("%s has more than %d values"):format(what, MOST)) end
    out.values[n] = read_value(value, what)
  end
  if #out.values == 0 or not out.list and #out.values > 1 then refuse(what .. ": one value expected, or a list") end
  return out
end

local function read_binding(binding, i)
  local what = ("registration %d"):format(i)
  local out = { aor = field(binding, "aor", "string", what), source = field(binding, "source", "string", what),
                transport = field(binding, "transport", "string", what), contact = field(binding, "contact", "string", what) }
  reader.address(out.source)
  return out
end

local function all(values, read)
  local out = {}
  for i, value in ipairs(values) do out[i] = read(value, i) end
  return out
end

-- "http" and "shared" are not in the records of the first versions.
function reader.read(text)
  local record, _, why = native.json.decode(text)
  if type(record) ~= "table" or record.siphook_record ~= 1 then
    native.fail(nil, "this is no record of siphook" .. (why and ": " .. why or ""))
  end
  local out = { script = field(record, "script", "string", "the record"), began = whole(record, "began", "the record", 1 << 56),
                cut = record.cut == true, domains = list(record, "domains", "string") }
  out.calls, out.entries, out.caller = read_messages(record)
  out.host, out.port = read_place(out.entries)
  out.registrations = all(list(record, "registrations", "table"), read_binding)
  out.asks = all(list(record, "http", "table", {}), read_ask)
  out.shared = all(list(record, "shared", "table", {}), read_key)
  return out
end

-- Retransmissions say nothing new.
function reader.without_copies(entries)
  local seen, out = {}, {}
  for _, entry in ipairs(entries) do
    local key = (entry.incoming and "in " or "out ") .. entry.message.text
    if not seen[key] then out[#out + 1] = entry end
    seen[key] = true
  end
  return out
end

-- One more field: a value, or a list of those that have the same name.
function reader.add(headers, name, value)
  local before = headers[name]
  if type(before) == "table" then
    before[#before + 1] = value
  else
    headers[name] = before and { before, value } or value
  end
end

-- What a web server of a test says in the place of the recorded one; nil: the record does not have it. A round trip of the virtual
-- network is a part of the time that it took.
local ROUND_TRIP = 2000

function reader.answer(ask)
  if ask.cut then return nil end
  if not ask.took then return { error = "timeout" } end
  local delay = math.max(ask.took - ROUND_TRIP, 0) / 1e6
  if ask.error then return { error = ask.error, detail = ask.detail ~= "" and ask.detail or nil, delay = delay } end
  local headers = {}
  for _, line in ipairs(ask.headers) do
    reader.add(headers, line[1], line[2])
  end
  return { status = ask.status, headers = headers, body = ask.body, delay = delay }
end

native.record = reader
