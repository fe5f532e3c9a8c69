-- What SIP messages of tests are made of and taken apart to; native.compose writes them.
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
  [607] = "Unwanted", [608] = "Rejected",
}

function sip.reason(code)
  return reasons[code] or reasons[code // 100 * 100] or "Unknown"
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
