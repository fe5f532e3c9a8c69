-- Kamailio's side of plan.lua: the same decisions, in its own way and without a step more than it needs.
local callee = "sip:callee@" .. (os.getenv("BENCH_CALLEE") or "127.0.0.1:15090")
local realm = "bench"

local function relay()
  if KSR.tm.t_relay() < 0 then KSR.sl.sl_reply_error() end
end

local function register()
  local user = KSR.pv.get("$tU")
  if not user then return KSR.sl.sl_send_reply(400, "Bad Request") end
  if KSR.auth.pv_auth_check(realm, "pw" .. user:sub(2), 0, 1) < 0 then
    return KSR.auth.auth_challenge(realm, 0)
  end
  KSR.auth.consume_credentials()
  if KSR.registrar.save("location", 0) < 0 then KSR.sl.sl_reply_error() end
end

local function invite()
  if KSR.tm.t_check_trans() == 0 then return end         -- it came again
  KSR.rr.record_route()
  if KSR.dialog then KSR.dialog.dlg_manage() end
  if KSR.pv.get("$rU") == "fixed" then
    KSR.pv.sets("$ru", callee)
  elseif KSR.registrar.lookup("location") < 0 then
    return KSR.sl.sl_send_reply(404, "Not Found")
  end
  relay()
end

local function in_dialog(method)
  if KSR.rr.loose_route() > 0 then return relay() end
  if method ~= "ACK" then return KSR.sl.sl_send_reply(404, "Not Here") end
  if KSR.tm.t_check_trans() > 0 then relay() end
end

function ksr_request_route()
  local method = KSR.pv.get("$rm")
  if KSR.maxfwd.process_maxfwd(10) < 0 then
    KSR.sl.sl_send_reply(483, "Too Many Hops")
  elseif KSR.siputils.has_totag() > 0 then
    in_dialog(method)
  elseif method == "REGISTER" then
    register()
  elseif method == "INVITE" then
    invite()
  elseif method == "OPTIONS" then
    KSR.sl.sl_send_reply(200, "OK")
  elseif method == "CANCEL" or method == "ACK" then
    if KSR.tm.t_check_trans() > 0 then relay() end
  else
    KSR.sl.sl_send_reply(405, "Not Allowed")
  end
  return 1
end
