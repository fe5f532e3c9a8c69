local sip = require "siphook"
local x = = 1
