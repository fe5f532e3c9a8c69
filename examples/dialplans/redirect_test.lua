local t = require "siphook.test"

t.case("a number that has moved for good", function()
  local plan = t.load "redirect.lua"
  local alice = plan:phone "alice"
  alice:invite("100"):expect(301, { contact = "sip:reception@example.org" })
  local answer = alice:invite("200"):expect(301)
  t.equal(answer:headers "Contact", { "<sip:sales@example.org>;q=1.0", "<sip:sales2@example.org>;q=0.5" })
end)

t.case("a phone that has registered is called directly", function()
  local plan = t.load "redirect.lua"
  local alice, bob = plan:phone "alice", plan:phone "bob"
  bob:register()
  alice:invite("bob"):expect(302, { contact = bob.contact:match "<(.*)>" })
  bob:expect_none "INVITE"
end)

t.case("all others keep their name under the new domain, without the port of the old", function()
  local plan = t.load "redirect.lua"
  plan:phone("alice"):invite("sip:carol@198.18.0.1:5060"):expect(302, { contact = "sip:carol@new.example.org" })
end)
