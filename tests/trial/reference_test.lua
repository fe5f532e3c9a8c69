-- The reference (docs/lua.md and docs/lua/) is complete: whatever a script can call has an entry, and each entry has its parts: syntax with
-- what it returns, where it may be called, whether it waits, errors, and an example that uses it (docs_lua_test.c runs those).
local t = require "siphook.test"

local pages = { "docs/lua.md", "docs/lua/values.md", "docs/lua/requests.md", "docs/lua/calls.md", "docs/lua/transfers.md", "docs/lua/phones.md",
                "docs/lua/time.md", "docs/lua/stores.md", "docs/lua/web.md" }

-- What an object of the runtime is called in the reference.
local prefixes = { siphook = "sip.", message = "req:", request = "req:", call = "call:", leg = "leg:", refer = "ref:", sub = "sub:",
                   snapshot = "snapshot:", shared = "store:", lock = "lock:", sdp = "sdp:", uri = "uri:", base64 = "sip.base64.",
                   http = "sip.http.", json = "sip.json.", log = "sip.log." }

-- Where: the words of the table at the top of docs/lua.md.
local places = { "anywhere", "while the file loads", "hooks", "timers", "before the final answer", "the %l+ hook", "in the call" }

local function read(path)
  local file = t.ok(io.open(path), path)
  local text = file:read "a"
  file:close()
  return text
end

-- {title=, text=, signatures = {name = what stands behind the dash}, examples=} of each heading "###" of a page.
local function entries(path)
  local list, entry, fenced, paragraph = {}, nil, nil, ""
  local function finish()
    local spans, rest = paragraph:match "^(`.-)%s— (.*)"
    if entry and spans then
      for span in spans:gmatch "`([^`]+)`" do
        local name = span:match "^[%w_]+[:.][%w_.]+"
        if name then entry.signatures[name] = { text = span, rest = rest } end
      end
    end
    paragraph = ""
  end
  for line in (read(path) .. "\n"):gmatch "(.-)\n" do
    if line:find "^```" then
      finish()
      fenced = not fenced and line:find "^```lua$" and "example" or not fenced and "other" or nil
    elseif fenced then
      if fenced == "example" and entry then entry.examples = entry.examples .. line .. "\n" end
    elseif line:find "^##?#? " then
      finish()
      entry = line:find "^### " and { title = path .. ": " .. line:sub(5), text = "", signatures = {}, examples = "" } or nil
      list[#list + 1] = entry
    elseif line == "" then
      finish()
    else
      paragraph = paragraph .. (paragraph == "" and "" or " ") .. line
    end
    if entry and not fenced then entry.text = entry.text .. line .. "\n" end
  end
  finish()
  return list
end

local function all_entries()
  local list = {}
  for _, path in ipairs(pages) do
    for _, entry in ipairs(entries(path)) do list[#list + 1] = entry end
  end
  return list
end

local function names()
  local functions, fields, options = {}, {}, {}
  for line in t.load("data/config.lua").world:names():gmatch "[^\n]+" do
    local owner, kind, name = line:match "^(.-)([~:.])([^~:.]+)$"
    local verb, option = line:match "^(.-)%?(.+)$"
    if verb then options[verb .. "?" .. option] = option end
    if owner == "on" then fields["sip.on." .. name] = name end
    if prefixes[owner] and not owner:find "%?" and not name:find "%?" and not name:find "^__" then
      if kind == "." then fields[owner .. "." .. name] = name else functions[#functions + 1] = { owner = owner, name = name, waits = kind == "~" } end
    end
  end
  return functions, fields, options
end

local function report(list)
  table.sort(list)
  if #list > 0 then t.fail(#list .. " are missing:\n" .. table.concat(list, "\n")) end
end

local function is_place(text)
  for _, place in ipairs(places) do
    if text:find(place) then return true end
  end
  return false
end

t.case("each entry has all its parts", function()
  local list = {}
  for _, entry in ipairs(all_entries()) do
    local function lacks(what) list[#list + 1] = entry.title .. ": " .. what end
    if not next(entry.signatures) then lacks "a line with its syntax" end
    if not entry.text:find "Errors:" then lacks "its errors" end
    for name, s in pairs(entry.signatures) do
      local verb = name:match "[%w_]+$"
      if not s.text:find("->", 1, true) and not s.text:find(" = ", 1, true) then lacks(name .. ": what it returns") end
      if not is_place(s.rest:match "^[^;.]*") then lacks(name .. ": where it may be called") end
      if not s.rest:find "wait" then lacks(name .. ": whether it waits") end
      if not (verb == "NAME" or entry.examples:find("[:.]" .. verb .. "%f[^%w_]")) then lacks(name .. ": an example") end
    end
  end
  report(list)
end)

t.case("whatever a script can call has an entry, which says truly whether it waits", function()
  local told, list = {}, {}
  for _, entry in ipairs(all_entries()) do
    for name, s in pairs(entry.signatures) do told[name] = s end
  end
  local functions = names()
  local of_requests = {}
  told["call:register"], told["call:publish"] = { rest = "it does not wait" }, { rest = "it does not wait" } -- an INVITE is neither: they raise
  for _, f in ipairs(functions) do
    if f.owner == "request" then of_requests[f.name] = true end
  end
  for _, f in ipairs(functions) do
    local name = prefixes[f.owner] .. f.name
    local s = told[name]
    local inherited = (f.owner == "refer" or f.owner == "sub") and of_requests[f.name]
    if not s and not inherited then list[#list + 1] = name end
    if s and f.waits ~= (s.rest:match "%f[%a]waits?%f[%A][^.]*" ~= nil and not s.rest:find "not wait") then
      list[#list + 1] = name .. (f.waits and ": it may wait" or ": it does not wait")
    end
  end
  t.ok(#functions >= 100, #functions .. " functions")
  report(list)
end)

t.case("each field of an object, option of a verb and hook is named", function()
  local text, words, list = "", {}, {}
  for _, path in ipairs(pages) do text = text .. read(path) end
  for span in text:gmatch "`([^`\n]+)`" do
    for word in span:gmatch "[%w_]+" do words[word] = true end
  end
  local _, fields, options = names()
  for field, name in pairs(fields) do
    if not words[name] then list[#list + 1] = field end
  end
  for option, name in pairs(options) do
    if not words[name] then list[#list + 1] = option end
  end
  report(list)
end)
