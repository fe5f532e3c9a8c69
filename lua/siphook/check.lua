-- What `siphook check` says about a dial plan that loads: hooks that can never run, timers that nobody names, functions that the
-- table siphook does not have, and what loading it warned of (names without a timer, globals that are set without being declared).
local native = ...

-- Where a call must have come in first.
local of_calls = { "answer", "hangup", "reinvite", "update", "ack", "bye", "cancel", "prack", "sdp" }

-- file:line of the first match in the files: {{path, text}}
local function place(files, pattern)
  for _, file in ipairs(files) do
    local at = file.text:find(pattern)
    if at then
      local _, lines = file.text:sub(1, at):gsub("\n", "")
      return ("%s:%d"):format(file.path, lines + 1)
    end
  end
  return files[1].path
end

-- Comments and the like are not looked through: a name in a comment counts as used.
local function mentions(files, name)
  local count = 0
  for _, file in ipairs(files) do
    for _, form in ipairs{ '"' .. name .. '"', "'" .. name .. "'", "[[" .. name .. "]]" } do
      local at = file.text:find(form, 1, true)
      while at do
        count = count + 1
        at = file.text:find(form, at + 1, true)
      end
    end
  end
  return count
end

-- Whatever a file reads of its table siphook ("sip.lokup"), and of a library in it ("sip.http.gett"), by line.
local libraries = { http = true, json = true, base64 = true, log = true }

local function unknown_names(file, names, warn)
  local sip = file.text:match "local%s+([%a_][%w_]*)%s*=%s*require%s*%(?%s*[\"']siphook[\"']"
  if not sip then return end
  local number = 0
  for line in (file.text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local code = line:gsub("%-%-.*$", ""):gsub("\"[^\"]*\"", "\"\""):gsub("'[^']*'", "''")
    for name, rest in code:gmatch("%f[%w_.:]" .. sip .. "%.([%a_][%w_]*)%.?([%w_]*)") do
      local full = name
      if libraries[name] and rest ~= "" then full = name .. "." .. rest end
      if not names[full] then warn(("%s:%d"):format(file.path, number), ("there is no %s.%s"):format(sip, full)) end
    end
  end
end

-- hooks, timers, names: {name = true}; said: lines that loading logged as warnings. A list of lines.
function native.check(hooks, timers, files, names, said)
  local warnings = {}
  local function warn(where, text) warnings[#warnings + 1] = ("%s: warning: %s"):format(where, text) end
  local calls_out = place(files, "sip%.originate") ~= files[1].path
  for _, name in ipairs(of_calls) do
    if hooks[name] and not hooks.invite and not calls_out then
      warn(place(files, "%.on%." .. name .. "%f[^%w_]"), ("the hook %s never runs: without an invite hook there are no calls"):format(name))
    end
  end
  if hooks.binding and not hooks.register then
    warn(place(files, "%.on%.binding%f[^%w_]"), "the hook binding never runs: without a register hook nobody registers")
  end
  for name in pairs(timers) do
    if name ~= "retired" and mentions(files, name) == 0 then
      warn(place(files, "%.timer%.?%[?[\"']?" .. name .. "%f[^%w_]"), ("sip.timer.%s: nobody names it"):format(name))
    end
  end
  for _, file in ipairs(files) do
    unknown_names(file, names, warn)
  end
  for _, line in ipairs(said) do
    local where, text = line:match "^(.-:%d+): (.+)$"
    if where then warn(where, text) end
  end
  return warnings
end
