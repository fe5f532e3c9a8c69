-- What editors are told (lua/siphook.d.lua, lua/siphook.test.d.lua, lua/siphook.luacheckrc) is what there is: compared with the tables in which
-- the runtime has registered it, in both directions.
local t = require "siphook.test"

local function read(path)
  local file = t.ok(io.open(path), path)
  local text = file:read "a"
  file:close()
  return text
end

-- {class = {name = true}} of a file of stubs: fields and functions, with those of the classes that a class extends.
local function stubs(path)
  local classes, parents, variables, class, waits = {}, {}, {}, nil, false
  for line in read(path):gmatch "[^\n]+" do
    local name, parent = line:match "^%-%-%-@class ([%w_.]+)%s*:?%s*([%w_.]*)"
    local field = line:match "^%-%-%-@field ([%w_]+)"
    local variable = line:match "^local ([%w_]+) = {}"
    local owner, method = line:match "^function ([%w_]+)[.:]([%w_]+)"
    if name then
      class = name
      classes[class] = classes[class] or {}
      parents[class] = parent ~= "" and parent or parents[class]
    elseif field then
      classes[class][field] = true
    elseif variable then
      variables[variable] = class
    elseif owner then
      t.ok(variables[owner], ("%s: %s.%s: of which class?"):format(path, owner, method))
      classes[variables[owner]][method] = waits and "waits" or true
    end
    waits = line == "---@async" or (waits and line:find "^%-%-%-" ~= nil)
  end
  for name, parent in pairs(parents) do
    while parent do
      for field, how in pairs(classes[parent] or {}) do classes[name][field] = classes[name][field] or how end
      parent = parents[parent]
    end
  end
  return classes
end

local function runtime()
  local owners = {}
  for line in t.load("data/config.lua").world:names():gmatch "[^\n]+" do
    local owner, kind, name = line:match "^(.-)([~:.])([^~:.]+)$"
    if not owner:find "%?" and not name:find "%?" then -- options: options_test.lua
      owners[owner] = owners[owner] or {}
      owners[owner][name] = kind == "~" and "waits" or true
    end
  end
  return owners
end

-- Names of the classes in the stubs, where they are others than the runtime's.
local class_of = { siphook = "siphook", on = "siphook.hooks", shared = "siphook.store", sub = "siphook.subscription" }
-- Libraries of Lua, which the editor knows.
local inner = { _G = true, coroutine = true, debug = true, math = true, os = true, string = true, table = true, utf8 = true }
-- Tables with a class for their methods: the fields are the table's own.
local tables = { snapshot = true, sdp = true }

local function differences(found, told)
  local list = {}
  for owner, names in pairs(found) do
    local class = told[class_of[owner] or "siphook." .. owner]
    if not inner[owner] and class then
      for name, how in pairs(names) do
        if not class[name] and not name:find "^__" then list[#list + 1] = ("%s.%s is not told"):format(owner, name) end
        if class[name] and (how == "waits") ~= (class[name] == "waits") then
          list[#list + 1] = ("%s.%s %s, says the runtime (---@async)"):format(owner, name, how == "waits" and "may wait" or "does not wait")
        end
      end
      for name in pairs(class) do
        if not names[name] and not tables[owner] then list[#list + 1] = ("%s.%s does not exist"):format(owner, name) end
      end
    elseif not inner[owner] then
      list[#list + 1] = ("siphook.%s: a class that is not told"):format(owner)
    end
  end
  table.sort(list)
  return list
end

t.case("the stubs of a dial plan", function()
  local list = differences(runtime(), stubs "lua/siphook.d.lua")
  if #list > 0 then t.fail(#list .. " differences: " .. table.concat(list, ", ")) end
end)

-- What a table of the test library has, its own inner parts aside.
local private = { take = true, target = true, from = true, body_of = true, note = true, finish = true, step = true, wait = true, after = true,
                  token = true, messages = true, transmit = true, drop = true }

local function methods(of)
  local names = {}
  for name, value in pairs(of) do
    if type(name) == "string" and not name:find "^__" and not private[name] and type(value) ~= "number" then names[name] = true end
  end
  return names
end

t.case("the stubs of a test file", function()
  local told = stubs "lua/siphook.test.d.lua"
  local plan = t.load "dialplan.lua"
  local alice = plan:phone "alice"
  local out = alice:invite "900"
  local found = { plan = methods(getmetatable(plan)), phone = methods(getmetatable(alice)), call = methods(getmetatable(out)) }
  local list = {}
  for class, names in pairs(found) do
    for name in pairs(names) do
      if not told["siphook.test." .. class][name] then list[#list + 1] = ("%s:%s is not told"):format(class, name) end
    end
  end
  for class, of in pairs{ plan = plan, phone = alice, call = out } do
    for name in pairs(told["siphook.test." .. class]) do
      if of[name] == nil then list[#list + 1] = ("%s:%s does not exist"):format(class, name) end
    end
  end
  local before_and_after = { before = true, after = true }
  for name in pairs(t) do
    if not told["siphook.test"][name] then list[#list + 1] = ("t.%s is not told"):format(name) end
  end
  for name in pairs(told["siphook.test"]) do
    if t[name] == nil and not before_and_after[name] then list[#list + 1] = ("t.%s does not exist"):format(name) end
  end
  if #list > 0 then t.fail(table.concat(list, ", ")) end
end)

t.case("the globals that luacheck is told", function()
  local env = { stds = {}, files = {} }
  t.ok(load(read "lua/siphook.luacheckrc", "luacheckrc", "t", env))()
  local names, list = runtime(), {}
  local told = {}
  for key, value in pairs(env.stds.siphook.read_globals) do
    local name = type(key) == "number" and value or key
    told[name] = true
    if not names._G[name] then list[#list + 1] = name .. " does not exist" end
    if type(key) == "string" then
      local fields = {}
      for _, field in ipairs(value.fields) do
        fields[field] = true
        if not names[name][field] then list[#list + 1] = ("%s.%s does not exist"):format(name, field) end
      end
      for field in pairs(names[name]) do
        -- what Lua 5.4 has of older versions only, nobody should use
        local old = name == "math" and (" atan2 cosh sinh tanh pow frexp ldexp log10 "):find(" " .. field .. " ", 1, true)
        if not fields[field] and not old then list[#list + 1] = ("%s.%s is not told"):format(name, field) end
      end
    end
  end
  for name in pairs(names._G) do
    if not told[name] then list[#list + 1] = name .. " is not told" end
  end
  if #list > 0 then t.fail(table.concat(list, ", ")) end
end)

-- The names of the contract, by owner: each of them is there.
local contract = [[
hooks: invite register subscribe publish reinvite update info message options notify refer ack bye cancel prack answer
hooks: hangup sdp binding load unload
request: method uri from to contact call_id cseq source max_forwards expires event body content_type auth_user trusted
request: call leg generation headers reply pass auth challenge register relay publish dtmf
call: id state a b duration times data auth ring reject redirect fork bridge dial answer hangup transfer pickup wait
call: signal after continue limit pin replaces uri from to
leg: uri state code call_id local_sdp remote_sdp user_agent hangup
refer: target replaces referred_by leg accept reject notify
sub: event expires accept reject notify terminate
siphook: on timer notify lookup bindings unbind domains listen acl trunk request originate calls find_call sleep spawn
siphook: after every now uuid hash hmac base64 http json uri sdp shared log metric config selftest is_cancel
siphook: is_retired
base64: encode decode
http: get post request
json: encode decode
shared: get set add incr delete push pop len keys lock
log: debug info warn error
sdp: keep drop prefer has
]]

t.case("every name of the contract", function()
  local names, missing = runtime(), {}
  for owner, list in contract:gmatch "(%w+): ([^\n]+)" do
    local found = names[owner == "hooks" and "on" or owner] or {}
    for name in list:gmatch "%S+" do
      if not found[name] then missing[#missing + 1] = owner .. "." .. name end
    end
  end
  if #missing > 0 then t.fail(#missing .. " missing: " .. table.concat(missing, ", ")) end
end)
