-- The table of limits in docs/lua.md: each counter that it names is in the status, and those of a script that runs away count.
local t = require "siphook.test"

local function counters()
  local list, page = {}, t.ok(io.open "docs/lua.md")
  for line in page:lines() do
    local name = line:match "^|.*| `([%l_]+)` |$"
    if name then list[#list + 1] = name end
  end
  page:close()
  return list
end

t.case("each counter is in the status", function()
  local status, list = t.load("data/limits.lua"):status(), counters()
  t.ok(#list >= 15, #list .. " counters")
  for _, name in ipairs(list) do t.equal(math.type(status[name]), "integer", name) end
end)

local function counts(counter, code, answer)
  t.case(counter .. " counts", function()
    local plan = t.load "data/limits.lua"
    local alice = plan:phone "alice"
    t.equal(plan:status()[counter], 0)
    local message = alice:message("bob", code)
    if answer then message:expect(answer, 60) else plan:advance(60) end
    t.ok(plan:status()[counter] > 0, counter)
  end)
end

counts("hooks_too_long", "while true do end", 500)
counts("hook_pauses", "for i = 1, 1000000 do end", 202)
counts("hooks_out_of_memory", "return #('x'):rep(100000000)", 503)
counts("timers_refused", "for i = 1, 100001 do sip.after(1e6, print) end", 202)
counts("hooks_refused", "for i = 1, 10001 do sip.spawn(sip.sleep, 50) end", 202)
counts("patterns_too_costly", "(('a'):rep(5000)):find(('a*'):rep(20) .. 'b')", 500)
counts("values_too_large", "sip.after(1, 'x', ('x'):rep(70000))", 500)
counts("outputs_too_long", "req:reply(200, {body = ('x'):rep(70000)}) error 'nothing else'", 500)
counts("log_lines_cut", "sip.log.info(('x'):rep(2000))", 202)
counts("hook_errors", "local function f() return 1 + f() end f()", 500)
