-- require "siphook.test": cases, checks, and how a file of them is run.
local native = ...
local plan, sdp, ladder = native.plan, native.sdp, native.ladder

local t = {}
local cases = {}
local open = {}                                    -- plans of the case that runs

---------------------------------------------------------------------------------------------- failures

local Failure = { __name = "failure" }
Failure.__tostring = function(self) return self.where .. self.message end

-- Ends the case. about: the plan, so that its ladder can be shown; text: a message that is shown too.
function native.fail(about, message, text)
  error(setmetatable({ where = native.where(), message = message, plan = about, text = text }, Failure), 0)
end

local function show(value, depth)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" or (depth or 0) > 3 or getmetatable(value) then return tostring(value) end
  local parts = {}
  for key, item in pairs(value) do
    local text = show(item, (depth or 0) + 1)
    parts[#parts + 1] = math.type(key) == "integer" and text or ("%s = %s"):format(tostring(key), text)
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return type(a) == "userdata" and type(b) == "string" and tostring(a) == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function said(message, text) return message and ("%s: %s"):format(message, text) or text end

-- Tables by their contents; a URI object by its text.
function t.equal(actual, expected, message)
  if not same(actual, expected) then
    native.fail(open[#open], said(message, ("expected %s, got %s"):format(show(expected), show(actual))))
  end
end

function t.not_equal(actual, unwanted, message)
  if same(actual, unwanted) then native.fail(open[#open], said(message, "did not expect " .. show(actual))) end
end

function t.match(text, pattern, message)
  text = text ~= nil and tostring(text) or nil
  if not text or not (text:find(pattern) or text:find(pattern, 1, true)) then
    native.fail(open[#open], said(message, ("%s does not match %s"):format(show(text), show(pattern))))
  end
end

function t.no_match(text, pattern, message)
  if text and tostring(text):find(pattern) then
    native.fail(open[#open], said(message, ("%s matches %s"):format(show(tostring(text)), show(pattern))))
  end
end

function t.ok(value, message)
  if not value then native.fail(open[#open], message or ("expected something true, got " .. show(value))) end
  return value
end
t.is_true = t.ok

function t.is_false(value, message)
  if value then native.fail(open[#open], message or ("expected nil or false, got " .. show(value))) end
end

function t.is_nil(value, message)
  if value ~= nil then native.fail(open[#open], said(message, "expected nil, got " .. show(value))) end
end

function t.near(actual, expected, tolerance, message)
  if type(actual) ~= "number" or math.abs(actual - expected) > (tolerance or 0.001) then
    native.fail(open[#open], said(message, ("expected about %s, got %s"):format(show(expected), show(actual))))
  end
end

-- fn raises an error that matches; the error.
function t.raises(fn, pattern, message)
  if type(fn) == "string" then fn, pattern = pattern, fn end
  local good, why = pcall(fn)
  if good then native.fail(open[#open], said(message, "expected an error, none was raised")) end
  if pattern and not (tostring(why):find(pattern) or tostring(why):find(pattern, 1, true)) then
    native.fail(open[#open], said(message, ("expected an error like %s, got %s"):format(show(pattern), show(tostring(why)))))
  end
  return why
end

function t.fail(message) native.fail(open[#open], message or "failed") end

---------------------------------------------------------------------------------------------- plans and cases

t.sdp = setmetatable({ read = sdp.read, write = sdp.write, answer = sdp.answer }, {
  __call = function(_, options) return sdp.write(options) end,
})

t.json, t.hash, t.base64 = native.json, native.hash, native.base64

-- The path of a dial plan: beside the test file, else where the command runs.
local function find(path)
  if path:find "^/" or native.defaults.folder == "" then return path end
  local beside = native.defaults.folder .. path
  return native.exists(beside) and beside or path
end

function t.load(path, options)
  if type(path) ~= "string" then error("t.load: the path of a dial plan expected, got " .. type(path), 2) end
  local p = plan.load(find(path), options)
  open[#open + 1] = p
  return p
end

function t.case(name, options, fn)
  if type(options) == "function" then options, fn = nil, options end
  if type(name) ~= "string" or type(fn) ~= "function" then error("t.case: a name and a function expected", 2) end
  cases[#cases + 1] = { name = name, fn = fn, options = options or {}, line = native.line() }
end

function t.skip(name) cases[#cases + 1] = { name = tostring(name), skipped = true, line = native.line() } end

-- Before and after each case.
local before, after = {}, {}
function t.before(fn) before[#before + 1] = fn end
function t.after(fn) after[#after + 1] = fn end

---------------------------------------------------------------------------------------------- running

local function with_traceback(why)
  if getmetatable(why) == Failure then return why end
  local lines = {}                                    -- of the stack, only the test's own
  for line in debug.traceback(nil, 2):gmatch "\t([^\n]+)" do
    if not line:find "^%[C%]" and not line:find "^siphook/" and not line:find "^%(" then lines[#lines + 1] = "    " .. line end
  end
  return { where = "", message = tostring(why), traceback = table.concat(lines, "\n"), plan = open[#open] }
end

local function details(failure)
  local lines, shown = {}, failure.plan
  if failure.text then
    lines[#lines + 1] = "the message:"
    for line in failure.text:gmatch "([^\r\n]*)\r?\n" do lines[#lines + 1] = "    " .. line end
  end
  if failure.traceback then lines[#lines + 1] = failure.traceback end
  if shown and not shown.closed then
    lines[#lines + 1] = ("seed %d%s, %.3f s after the start:"):format(shown.options.seed or native.defaults.seed,
      shown.lossy and (", loss %g"):format(shown.options.loss or native.defaults.loss) or "", shown:now())
    for _, line in ipairs(ladder.draw(shown)) do lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

local function run_one(case)
  local seconds, counted = 0, {}
  open = {}
  local function count(p)
    if counted[p] or p.closed then return end
    counted[p] = true
    seconds = seconds + p:now()
  end
  local function body()
    for _, fn in ipairs(before) do fn() end
    case.fn()
    for _, fn in ipairs(after) do fn() end
    for i = #open, 1, -1 do
      count(open[i])
      open[i]:close()
    end
  end
  local good, why = xpcall(body, with_traceback)
  for _, p in ipairs(open) do count(p) end
  local failure, more
  if not good then
    why = type(why) == "table" and why or { where = "", message = tostring(why) }
    failure = why.where .. why.message
    local fine, text = pcall(details, why)
    more = fine and text or "the ladder cannot be drawn: " .. tostring(text)
  end
  for _, p in ipairs(open) do pcall(p.drop, p) end
  open = {}
  return failure, more, seconds
end

-- Of a dial plan itself (sip.selftest): fn(plan, t), the plan being the one that is tried out. The plan knows the checks too.
-- nil, or what failed and the ladder.
function native.selftest(fn, world)
  local p
  local function body()
    p = plan.load("", { world = world })
    open = { p }
    local methods = getmetatable(p)
    setmetatable(p, { __index = function(_, key)
      local method = methods[key]
      if method == nil then method = t[key] end
      return method
    end })
    t.load = function() return p end
    fn(p, t)
    p:close()
  end
  local good, why = xpcall(body, with_traceback)
  if good then return nil end
  why = type(why) == "table" and why or { where = "", message = tostring(why) }
  local fine, text = pcall(details, why)
  return why.where .. why.message, fine and text or nil
end

local function wanted(name, filter)
  if not filter or name:find(filter, 1, true) then return true end
  local good, found = pcall(string.find, name, filter)          -- a broken pattern is only a text
  return good and found ~= nil
end

-- Of the cases whose names fit those of that part, counted from 0; where there are less than `many` the first part has all.
local function choose(filter, part, parts, many)
  local list = {}
  for _, case in ipairs(cases) do
    if wanted(case.name, filter) then list[#list + 1] = case end
  end
  if parts < 2 then return list end
  if #list < many then return part == 0 and list or {} end
  return table.move(list, #list * part // parts + 1, #list * (part + 1) // parts, 1, {})
end

-- Runs them; tells each by native.result(name, line, failure, details, seconds, skipped).
function native.run(filter, part, parts, many)
  for _, case in ipairs(choose(filter, part, parts, many)) do
    if case.skipped then
      native.result(case.name, case.line, nil, nil, 0, true)
    else
      local failure, more, seconds = run_one(case)
      native.result(case.name, case.line, failure, more, seconds, false)
    end
  end
end

native.test = t
