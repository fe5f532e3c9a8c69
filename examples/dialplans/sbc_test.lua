local t = require "siphook.test"

-- The telephone system (10.0.0.2) and the two addresses of its provider.
local function border()
  local plan = t.load "sbc.lua"
  local pbx = plan:peer("10.0.0.2", { name = "pbx" })
  local first, second = plan:peer("10.0.0.3", { name = "first" }), plan:peer("10.0.0.4", { name = "second" })
  local challenge = { headers = { ["WWW-Authenticate"] = 'Digest realm="provider", nonce="n", qop="auth"' } }
  first:expect("REGISTER"):reply(401, challenge)
  first:expect("REGISTER", { Authorization = 'username="acct7"' }):reply(200, { headers = { Expires = 7200 } })
  for _, peer in ipairs{ pbx, first, second } do peer:expect("OPTIONS"):reply(200) end
  plan:advance(1)
  plan:expect_log "trunk provider is up"
  return plan, pbx, first, second
end

t.case("numbers go out in one form, and the inside stays inside", function()
  local plan, pbx, first = border()
  local out = pbx:invite("sip:0301234@198.18.0.1", {
    headers = { ["P-Asserted-Identity"] = "<sip:+49891@pbx>", ["X-Account"] = "7", ["X-Inside"] = "secret" } })
  local challenge = { headers = { ["Proxy-Authenticate"] = 'Digest realm="provider", nonce="n", qop="auth"' } }
  first:expect("INVITE", { uri = "sip:+49301234@10.0.0.3", ["P-Asserted-Identity"] = "<sip:+49891@pbx>", ["X-Account"] = "7",
                           ["X-Inside"] = false }):reply(407, challenge)
  first:expect("INVITE", { ["Proxy-Authorization"] = 'username="acct7"' }):answer()
  out:expect(200):ack()
  out:bye():expect(200)
  plan:expect_log "cdr: "
end)

t.case("the second address when the first is silent; the cause is told inside", function()
  local plan, pbx, first, second = border()
  local out = pbx:invite "sip:+441234@198.18.0.1"
  first:expect "INVITE"
  plan:advance(3)
  second:expect("INVITE"):reply(404, { headers = { Reason = "Q.850;cause=1" } })
  out:expect(404)
  plan:advance(1)
  plan:expect_log "404, q850 1"
end)

t.case("what the provider says about itself is not the caller's business", function()
  local _, pbx, first, second = border()
  local out = pbx:invite "sip:+441234@198.18.0.1"
  first:expect("INVITE"):reply(500)
  second:expect("INVITE"):reply(500)
  out:expect(480)
end)

t.case("calls come in by the provider, and by nobody else", function()
  local plan, pbx, first, second = border()
  local out = second:invite "sip:100@198.18.0.1"
  pbx:expect("INVITE", { uri = "sip:100@10.0.0.2" }):answer()
  out:expect(200):ack()
  plan:phone("stranger"):invite("100"):expect(403)
  first:expect_none("INVITE", 0)
end)

t.case("nonsense is no number", function()
  local _, pbx = border()
  pbx:invite("sip:nonsense@198.18.0.1"):expect(404)
end)
