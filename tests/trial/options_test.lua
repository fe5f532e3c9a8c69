-- The options of each verb: what lua/siphook.d.lua tells editors is what the verb accepts, by the lists that it checks them with. A list
-- that the runtime does not know as one (script/names.c) cannot be checked with in the test builds.
local t = require "siphook.test"

local function read(path)
  local file = t.ok(io.open(path), path)
  local text = file:read "a"
  file:close()
  return text
end

-- Classes that are objects, and no tables that a script writes.
local objects = { uri = true, leg = true, call = true, result = true, trunk = true, binding = true }
-- Parameters that are tables of options.
local tables = { options = true, parts = true, request = true, rules = true, trunk = true, how = true, what = true }

-- {verb = {option = true}} of functions, {class = {field = true}} of classes.
local function stubs(path)
  local classes, parents, class, verbs, params = {}, {}, nil, {}, {}
  for line in read(path):gmatch "[^\n]+" do
    local name, parent = line:match "^%-%-%-@class ([%w_.]+)%s*:?%s*([%w_.]*)"
    local field = line:match "^%-%-%-@field ([%w_]+)"
    local param, kind = line:match "^%-%-%-@param ([%w_]+)%?? (.*)"
    local owner, sign, method = line:match "^function ([%w_]+)([.:])([%w_]+)"
    if name then
      class = name
      classes[class] = classes[class] or {}
      parents[class] = parent ~= "" and parent or parents[class]
    elseif field then
      classes[class][field] = true
    elseif param and tables[param] then
      params[#params + 1] = kind
    elseif owner then
      verbs[owner .. sign .. method], params = params, {}
    elseif not line:find "^%-%-%-" then
      params = {}
    end
  end
  local function fields(name)
    local all = {}
    for field in pairs(classes[name] or {}) do all[field] = true end
    for field in pairs(parents[name] and fields(parents[name]) or {}) do all[field] = true end
    return all
  end
  local told = {}
  for verb, kinds in pairs(verbs) do
    local options = {}
    for _, kind in ipairs(kinds) do
      for inline in kind:gmatch "%b{}" do
        for name in inline:gmatch "([%w_]+)%??:" do options[name] = true end
      end
      for name in kind:gmatch "siphook%.([%w_]+)" do
        if not objects[name] then
          for field in pairs(fields("siphook." .. name)) do options[field] = true end
        end
      end
    end
    if next(options) then told[verb] = options end
  end
  return told, fields
end

local function runtime()
  local verbs = {}
  for line in t.load("data/config.lua").world:names():gmatch "[^\n]+" do
    local verb, name = line:match "^(.-)%?(.+)$"
    if verb then
      verbs[verb] = verbs[verb] or {}
      verbs[verb][name] = true
    end
  end
  return verbs
end

local function compare(list, owner, found, told)
  for name in pairs(found) do
    if not told[name] then list[#list + 1] = ("%s: %s is not told"):format(owner, name) end
  end
  for name in pairs(told) do
    if not found[name] then list[#list + 1] = ("%s: %s does not exist"):format(owner, name) end
  end
end

t.case("the options in the stubs", function()
  local found = runtime()
  local told, fields = stubs "lua/siphook.d.lua"
  local list = {}
  for owner, names in pairs(found) do
    compare(list, owner, names, owner:find "^siphook%." and fields(owner) or told[owner] or {})
  end
  for verb in pairs(told) do
    if not found[verb] then list[#list + 1] = verb .. " has options that the runtime does not list" end
  end
  table.sort(list)
  if #list > 0 then t.fail(#list .. " differences:\n" .. table.concat(list, "\n")) end
end)

t.case("the types in the stubs", function()
  local list = {}
  for _, path in ipairs{ "lua/siphook.d.lua", "lua/siphook.test.d.lua" } do
    local text = read "lua/siphook.d.lua" .. read "lua/siphook.test.d.lua"
    for name in read(path):gmatch "[^%w_](siphook%.[%w_.]+)" do
      local pattern = name:gsub("%.$", ""):gsub("%p", "%%%0")
      if not text:find("%-%-%-@class " .. pattern .. "%f[^%w_.]") and not text:find("%-%-%-@alias " .. pattern .. "%f[^%w_.]")
          and not text:find("%-%-%-@meta " .. pattern .. "%f[^%w_.]") and name ~= "siphook.d.lua" then
        list[#list + 1] = path .. ": " .. name
      end
    end
  end
  if #list > 0 then t.fail("types that do not exist: " .. table.concat(list, ", ")) end
end)
