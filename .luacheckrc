-- Dial plans by the standard that their authors use, all else by that of Lua.
std = "lua54"
max_line_length = 180
exclude_files = { "tests/trial/data/syntax.lua", "tests/bench/route.lua" } -- one is wrong on purpose, one is Kamailio's

local dialplans = { stds = {}, files = {} }
local read = loadfile("lua/siphook.luacheckrc", "t", dialplans)
if setfenv then setfenv(read, dialplans) end -- luacheck runs on Lua 5.1
read()
stds.siphook = dialplans.stds.siphook

files["examples/dialplans"] = { std = "siphook" }
files["examples/dialplans/*_test.lua"] = { std = "lua54" }
files["tests/trial/world_test.lua"] = { globals = { "a_global" } }
files["tests/interop"] = { ignore = { "212" } }
files["lua/*.d.lua"] = { max_line_length = false, ignore = { "211", "212", "241", "431" } } -- stubs for editors: arguments are their purpose
