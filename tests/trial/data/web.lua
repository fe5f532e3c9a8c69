local sip = require "siphook"

sip.on.invite(function(call)
  local response, why = sip.http.get("http://users.example/" .. call.uri.user, { timeout = 2 })
  if not response then return call:reject(480, why) end
  if response.status ~= 200 then return call:reject(404, "HTTP " .. response.status) end
  local user = sip.json.decode(response.body)
  call:reject(486, user.says)
end)
