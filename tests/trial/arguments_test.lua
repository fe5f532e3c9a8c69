-- Each parameter that lua/siphook.d.lua gives a function is one of it: a value of the wrong type there is refused, by an error that says so.
local t = require "siphook.test"

-- Of another type than the name suggests, or taken as it is.
local given = {
  ["call:ring"] = { code = 183 }, ["call:redirect"] = { code = 302 }, ["sip.every"] = { what = "function" }, ["sip.spawn"] = { what = "function" },
}
-- Any value is right there.
local open = { ["json.encode"] = { value = true }, ["sip.is_cancel"] = { e = true }, ["sip.is_retired"] = { e = true } }
local while_loading = { ["sip.domains"] = true, ["sip.listen"] = true, ["sip.acl"] = true, ["sip.trunk"] = true, ["sip.selftest"] = true }

local function verbs()
  local list, parameters = {}, {}
  local file = t.ok(io.open "lua/siphook.d.lua")
  for line in file:lines() do
    local parameter = line:match "^%-%-%-@param ([%w_]+)"
    local verb, names = line:match "^function ([%w_.:]+)%((.-)%)"
    if parameter then
      parameters[#parameters + 1] = parameter
    elseif verb then
      t.equal(names:gsub(",?%s*%.%.%.", ""), table.concat(parameters, ", "), verb)
      if not while_loading[verb] then
        local words = { verb }
        for _, name in ipairs(parameters) do
          local value = given[verb] and given[verb][name]
          if open[verb] and open[verb][name] then break end
          words[#words + 1] = name .. (value and "=" .. value or "")
        end
        list[#list + 1] = table.concat(words, " ")
      end
    end
    if not line:find "^%-%-%-" then parameters = {} end
  end
  file:close()
  return table.concat(list, ";")
end

t.case("a wrong argument in each place is refused", function()
  local plan = t.load("data/arguments.lua", { config = { verbs = verbs() } })
  local alice = plan:phone "alice"
  t.equal(alice:message("x", "probe"):expect(200, 10).body or "", "")
  t.equal(alice:invite("x"):expect(480)["X-Silent"] or "", "")
  t.equal(alice:request("REGISTER", "x"):expect(400).body or "", "")
  t.equal(alice:request("REFER", "x", { headers = { ["Refer-To"] = "<sip:a@b>" } }):expect(400).body or "", "")
  t.equal(alice:subscribe("x", "presence"):expect(400).body or "", "")
end)
