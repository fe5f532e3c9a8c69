local sip = require "siphook"

sip.on.invite(function(call)
  if call.uri.user == "trunk" then
    local leg, res = call:fork({ sip.config.trunk }, { first_timeout = 4 })
    if not leg then return call:reject(res) end
    return call:bridge(leg)
  end
  if call.uri.user == "clock" then return call:reject(480, os.date "%a %H:%M") end
  call:reject(480, sip.config.greeting .. " " .. sip.config.number)
end)
