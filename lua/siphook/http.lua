-- The web servers that a dial plan asks. What a test gives: a function(request) for all of them, or a table of answers by URL, or by
-- "METHOD URL"; a URL may be a Lua pattern. An answer is a text (the body), a number (the status), a table {status=, headers=, body=,
-- json=, delay=, error="timeout"|"unreachable"|"not_found"|"tls"|"size"|"busy"|"failed", detail=}, or a function(request) that gives one of these.
local native = ...

local http = {}

local known = { status = true, headers = true, body = true, json = true, delay = true, error = true, detail = true }

-- Without what stands before an @: "https://user:password@host/".
function http.bare(url)
  local scheme, authority, rest = url:match "^(%a[%w+.-]*://)([^/?#]*)(.*)$"
  return scheme and scheme .. authority:gsub("^.*@", "") .. rest or url
end

function http.fits(url, pattern)
  if not pattern or url == pattern or url:find(pattern, 1, true) == 1 then return true end
  local good, found = pcall(string.find, url, "^" .. pattern .. "$")
  return good and found ~= nil
end

local function find(plan, request, url)
  for i = #plan.servers, 1, -1 do                               -- the latest word counts, an exact one before a pattern
    local server = plan.servers[i]
    if server.url == url and (not server.method or server.method == request.method) then return server.answer end
  end
  for i = #plan.servers, 1, -1 do
    local server = plan.servers[i]
    if (not server.method or server.method == request.method) and http.fits(url, server.url) then return server.answer end
  end
end

-- What the driver wants: status, header_lines, body, delay, error.
local function complete(answer)
  if type(answer) == "string" then return { status = 200, body = answer, delay = 0 } end
  if type(answer) == "number" then return { status = answer, delay = 0 } end
  if type(answer) ~= "table" then error("a web server of the test: text, status or table expected, got " .. type(answer), 0) end
  for key in pairs(answer) do
    if not known[key] then error(("a web server of the test: unknown key '%s'"):format(tostring(key)), 0) end
  end
  local out = { status = answer.status or 200, body = answer.body, delay = answer.delay or 0, error = answer.error, detail = answer.detail }
  local lines, has_type = {}, false
  for name, value in pairs(answer.headers or {}) do
    has_type = has_type or name:lower() == "content-type"
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      lines[#lines + 1] = ("%s: %s\r\n"):format(name, tostring(one))
    end
  end
  if answer.json ~= nil then
    out.body = native.json.encode(answer.json)
    if not has_type then lines[#lines + 1] = "Content-Type: application/json\r\n" end
  end
  out.header_lines = table.concat(lines)
  return out
end

local function serve(plan, request)
  plan.requests[#plan.requests + 1] = request
  local answer = find(plan, request, request.url)
  if answer == nil then answer = find(plan, request, http.bare(request.url)) end
  for _ = 1, 10 do
    if type(answer) ~= "function" then break end
    answer = answer(request)
  end
  if answer == nil then return { status = 0, delay = 0, error = "unreachable" } end
  return complete(answer)
end

-- Every request of the plan's script comes here from now on.
function http.attach(plan, answers)
  plan.servers, plan.requests = {}, {}
  if answers ~= nil then http.add(plan, answers) end
  native.http(plan.world, function(request)
    request.at = plan.world:now()
    local good, result = pcall(serve, plan, request)
    if good then return result end
    plan.broken = "web server of the test: " .. tostring(result)     -- ends the case at the next wait
    return { status = 500, delay = 0 }
  end)
end

-- add(plan, answers) or add(plan, [method,] url, answer)
function http.add(plan, method, url, answer)
  if type(method) == "function" then
    plan.servers[#plan.servers + 1] = { url = nil, answer = method }
  elseif type(method) == "table" then
    for key, value in pairs(method) do
      local verb, rest = key:match "^(%u+) (.+)$"
      plan.servers[#plan.servers + 1] = { method = verb, url = rest or key, answer = value }
    end
  elseif answer == nil then
    plan.servers[#plan.servers + 1] = { url = method, answer = url }
  else
    plan.servers[#plan.servers + 1] = { method = method, url = url, answer = answer }
  end
end

native.web = http
