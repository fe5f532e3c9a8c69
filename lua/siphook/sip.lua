-- SIP messages of tests, as text. A draft is a list of header lines; fields that a test gives itself replace ours.
local native = ...

local sip = {}

local reasons = {
  [100] = "Trying", [180] = "Ringing", [181] = "Call Is Being Forwarded", [182] = "Queued", [183] = "Session Progress",
  [199] = "Early Dialog Terminated",
  [200] = "OK", [202] = "Accepted", [204] = "No Notification", [300] = "Multiple Choices", [301] = "Moved Permanently",
  [302] = "Moved Temporarily", [305] = "Use Proxy", [380] = "Alternative Service", [400] = "Bad Request", [401] = "Unauthorized",
  [402] = "Payment Required", [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed", [406] = "Not Acceptable",
  [407] = "Proxy Authentication Required", [408] = "Request Timeout", [410] = "Gone", [412] = "Conditional Request Failed",
  [413] = "Request Entity Too Large", [414] = "Request-URI Too Long", [415] = "Unsupported Media Type",
  [416] = "Unsupported URI Scheme", [420] = "Bad Extension", [421] = "Extension Required", [422] = "Session Interval Too Small",
  [423] = "Interval Too Brief", [480] = "Temporarily Unavailable", [481] = "Call/Transaction Does Not Exist",
  [482] = "Loop Detected", [483] = "Too Many Hops", [484] = "Address Incomplete", [485] = "Ambiguous", [486] = "Busy Here",
  [487] = "Request Terminated", [488] = "Not Acceptable Here", [489] = "Bad Event", [491] = "Request Pending",
  [493] = "Undecipherable", [500] = "Server Internal Error", [501] = "Not Implemented", [502] = "Bad Gateway",
  [503] = "Service Unavailable", [504] = "Server Time-out", [505] = "Version Not Supported", [513] = "Message Too Large",
  [600] = "Busy Everywhere", [603] = "Decline", [604] = "Does Not Exist Anywhere", [606] = "Not Acceptable",
}

function sip.reason(code)
  return reasons[code] or reasons[code // 100 * 100] or "Unknown"
end

local compact = {
  i = "call-id", m = "contact", e = "content-encoding", l = "content-length", c = "content-type", f = "from", s = "subject",
  k = "supported", t = "to", v = "via", o = "event", r = "refer-to", b = "referred-by", x = "session-expires", u = "allow-events",
}

function sip.key(name)
  name = name:lower()
  return compact[name] or name
end

-- Text of a message. start: the first line. lines: {{name, value}, ...}. headers: {Name = "value" | {"v1", "v2"} | false}: instead of
-- ours, or (false) without it. body and its type.
function sip.message(start, lines, headers, body, content_type)
  local out, own = { start }, nil
  if headers and next(headers) then
    own = {}
    for name in pairs(headers) do own[sip.key(name)] = true end
  end
  for i = 1, #lines do
    local line = lines[i]
    if not own or not own[sip.key(line[1])] then out[#out + 1] = line[1] .. ": " .. line[2] end
  end
  for name, value in pairs(headers or {}) do
    if type(value) == "table" then
      for _, one in ipairs(value) do out[#out + 1] = name .. ": " .. tostring(one) end
    elseif value then
      out[#out + 1] = name .. ": " .. tostring(value)
    end
  end
  body = body or ""
  if body ~= "" and content_type and not (own and own["content-type"]) then out[#out + 1] = "Content-Type: " .. content_type end
  if not (own and own["content-length"]) then out[#out + 1] = "Content-Length: " .. #body end
  out[#out + 1] = ""
  out[#out + 1] = body
  return table.concat(out, "\r\n")
end

-- "<sip:bob@host>;tag=1" without its parameters behind the angle brackets; a bare URI without ";tag".
function sip.without_tag(value)
  local bracketed = value:match "^(.-<[^>]*>)"
  return bracketed or value:match "^([^;]*)"
end

-- host and port of a URI text; nil where there is none.
function sip.host(uri)
  local rest = uri:match "^sips?:(.*)$"
  if not rest then return nil end
  rest = rest:gsub("[;?].*$", ""):gsub("^[^@]*@", "")
  local host, port = rest:match "^(%[[^%]]*%]):?(%d*)$"
  if not host then host, port = rest:match "^([^:]*):?(%d*)$" end
  return host, tonumber(port)
end

-- Every value of a list field (Record-Route, Contact), split at the commas outside of quotes and brackets.
function sip.values(list)
  local out = {}
  for _, value in ipairs(list) do
    local depth, quoted, from = 0, false, 1
    for i = 1, #value do
      local c = value:byte(i)
      if c == 34 then quoted = not quoted                        -- "
      elseif not quoted and c == 60 then depth = depth + 1        -- <
      elseif not quoted and c == 62 then depth = depth - 1        -- >
      elseif not quoted and depth == 0 and c == 44 then           -- ,
        out[#out + 1] = value:sub(from, i - 1):match "^%s*(.-)%s*$"
        from = i + 1
      end
    end
    out[#out + 1] = value:sub(from):match "^%s*(.-)%s*$"
  end
  return out
end

native.sip = sip
