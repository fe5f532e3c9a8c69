---@meta siphook.test
-- Types of the table that require "siphook.test" gives, for editors with the Lua language server. docs/testing.md says what everything means.

---@class siphook.test
---@field json siphook.json
---@field base64 siphook.base64
---@field sdp siphook.test.sdp_tools
local t = {}

---@class siphook.test.load_options
---@field shared? table<string, table<string, string | number | boolean | (string | number | boolean)[]>>
---@field config? table<string, string | number>
---@field http? function | table<string, any>
---@field domain? string
---@field workers? integer
---@field seed? integer
---@field loss? number
---@field duplicate? number
---@field reorder? number
---@field delay? number seconds one way
---@field time? number | osdate when it begins
---@field credulous? boolean whatever password a phone shows is right
---@field patience? number seconds that an expectation waits

---@param path string beside the test file, else where the command runs
---@param options? siphook.test.load_options
---@return siphook.test.plan
function t.load(path, options) end

---@param name string
---@param fn fun()
function t.case(name, fn) end

---@param name string
function t.skip(name) end

---@param fn fun()
function t.before(fn) end

---@param fn fun()
function t.after(fn) end

---@param actual any
---@param expected any
---@param message? string
function t.equal(actual, expected, message) end

---@param actual any
---@param unwanted any
---@param message? string
function t.not_equal(actual, unwanted, message) end

---@param text any
---@param pattern string
---@param message? string
function t.match(text, pattern, message) end

---@param text any
---@param pattern string
---@param message? string
function t.no_match(text, pattern, message) end

---@param value any
---@param message? string
---@return any value
function t.ok(value, message) end

---@param value any
---@param message? string
---@return any value
function t.is_true(value, message) end

---@param value any
---@param message? string
function t.is_false(value, message) end

---@param value any
---@param message? string
function t.is_nil(value, message) end

---@param actual number
---@param expected number
---@param tolerance? number
---@param message? string
function t.near(actual, expected, tolerance, message) end

---@param fn fun()
---@param pattern? string
---@param message? string
---@return any error
function t.raises(fn, pattern, message) end

---@param message? string
function t.fail(message) end

---@param algorithm string
---@param text string
---@return string
function t.hash(algorithm, text) end

---@class siphook.test.sdp_options
---@field ip? string
---@field port? integer
---@field codecs? string[]
---@field direction? "sendrecv" | "sendonly" | "recvonly" | "inactive"
---@field version? integer
---@field session? integer
---@field video? boolean | string[]

---@class siphook.test.sdp_tools
---@overload fun(options?: siphook.test.sdp_options): string
local sdp_tools = {}

---@param text string
---@return siphook.test.sdp?
function sdp_tools.read(text) end

---@param options? siphook.test.sdp_options
---@return string
function sdp_tools.write(options) end

---@param offer string
---@param options? siphook.test.sdp_options
---@return string
function sdp_tools.answer(offer, options) end

---@class siphook.test.sdp
---@field ip? string
---@field port? integer
---@field direction string
---@field version? string
---@field codecs { name: string, rate: integer, payload: integer, fmtp: string? }[]
---@field media { kind: string, port: integer, ip: string?, direction: string, codecs: table[] }[]
local sdp = {}

---@param name string
---@param kind? string
---@return boolean
function sdp:has(name, kind) end

---@param kind? string
---@return string[]
function sdp:names(kind) end

---@class siphook.test.plan
---@field requests table[] what the script asked web servers
---@field domain string of its phones
---@field ip string of the engine
---@field port integer
local plan = {}

---@class siphook.test.phone_options
---@field password? string
---@field login? string
---@field display? string
---@field domain? string
---@field user? string
---@field transport? "udp" | "tcp"
---@field ip? string
---@field port? integer
---@field codecs? string[]
---@field algorithm? "MD5" | "SHA-256"
---@field realm? string
---@field user_agent? string
---@field supported? string
---@field allow? string
---@field habits? boolean

---@param name string
---@param options? siphook.test.phone_options
---@return siphook.test.phone
function plan:phone(name, options) end

---@param address string
---@param options? siphook.test.phone_options
---@return siphook.test.phone
function plan:peer(address, options) end

---@param seconds number
---@return siphook.test.plan
function plan:advance(seconds) end

---@return number seconds
function plan:now() end

---@param address string
---@param mode "silent" | "refused" | "up"
---@return siphook.test.plan
function plan:network(address, mode) end

---@param name string
---@return { get: fun(self, key: string), set: fun(self, key: string, value: any), delete: fun(self, key: string) }
function plan:shared(name) end

---@return integer generation
function plan:reload() end

---@return integer generation
function plan:rollback() end

---@return table[]
function plan:calls() end

---@return table[]
function plan:registrations() end

---@return table
function plan:status() end

---@return string[]
function plan:log() end

---@param pattern string
---@return string line
function plan:expect_log(pattern) end

---@return table[]
function plan:events() end

---@return string
function plan:ladder() end

---@param method string of the request, or a URL, or a table of answers by URL
---@param url? any
---@param answer? any
---@return siphook.test.plan
function plan:http(method, url, answer) end

---@param method string
---@param pattern? string
---@return { method: string, url: string, headers: table<string, string>, body: string? }
function plan:expect_http(method, pattern) end

---@param filter? string
---@return siphook.test.plan
function plan:record(filter) end

---@return string?
function plan:recorded() end

---@return string? left
function plan:settle() end

function plan:close() end

---@class siphook.test.phone
---@field name string
---@field user string
---@field domain string
---@field aor string
---@field contact string
---@field ip string
---@field port integer
local phone = {}

---@alias siphook.test.demands table<string, any>

---@param options? { expires: integer?, contact: string?, to: string?, headers: table?, auth: boolean?, expect: integer? }
---@return siphook.test.message
function phone:register(options) end

---@param options? table
---@return siphook.test.message
function phone:unregister(options) end

---@class siphook.test.request_options
---@field headers? table<string, string | number | string[] | false>
---@field sdp? string | siphook.test.sdp_options | false
---@field body? string
---@field content_type? string
---@field from? string
---@field to? string
---@field display? string
---@field auth? boolean
---@field expires? integer

---@param target string
---@param options? siphook.test.request_options
---@return siphook.test.call
function phone:invite(target, options) end

---@param target string
---@param text string
---@param options? siphook.test.request_options
---@return siphook.test.sent
function phone:message(target, text, options) end

---@param target? string
---@param options? siphook.test.request_options
---@return siphook.test.sent
function phone:options(target, options) end

---@param target string
---@param event string
---@param options? siphook.test.request_options
---@return siphook.test.call
function phone:subscribe(target, event, options) end

---@param target string
---@param event string
---@param body? string
---@param options? siphook.test.request_options
---@return siphook.test.sent
function phone:publish(target, event, body, options) end

---@param method string
---@param target string
---@param options? siphook.test.request_options
---@return siphook.test.sent
function phone:request(method, target, options) end

---@param what string | integer
---@param demands? siphook.test.demands
---@return any
function phone:expect(what, demands) end

---@param what string | integer
---@param seconds? number
function phone:expect_none(what, seconds) end

---@param text string
---@param transport? "udp" | "tcp"
function phone:send(text, transport) end

function phone:disconnect() end

---@class siphook.test.sent
local sent = {}

---@param what string | integer
---@param demands? siphook.test.demands
---@return siphook.test.message
function sent:expect(what, demands) end

---@class siphook.test.message : siphook.test.call
---@field code? integer
---@field reason? string
---@field sdp? siphook.test.sdp
---@field body? string

---@class siphook.test.call
local call = {}

---@param code integer
---@param reason? string
---@param options? siphook.test.request_options
function call:reply(code, reason, options) end

---@param options? siphook.test.request_options
function call:ring(options) end

---@param options? siphook.test.request_options
function call:answer(options) end

---@param options? siphook.test.request_options
function call:accept(options) end

---@param code? integer
---@param reason? string
---@param options? siphook.test.request_options
function call:reject(code, reason, options) end

---@param what string | integer
---@param demands? siphook.test.demands
---@return any
function call:expect(what, demands) end

---@param what string | integer
---@param seconds? number
function call:expect_none(what, seconds) end

---@param options? siphook.test.request_options
---@return siphook.test.call
function call:ack(options) end

---@param options? siphook.test.request_options
---@return siphook.test.call
function call:cancel(options) end

---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:bye(options) end

---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:reinvite(options) end

---@return siphook.test.sent
function call:hold() end

---@return siphook.test.sent
function call:resume() end

---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:update(options) end

---@param body string
---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:info(body, options) end

---@param signal string
---@param duration? integer
---@return siphook.test.sent
function call:dtmf(signal, duration) end

---@param body string
---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:message(body, options) end

---@param event string
---@param state? string
---@param body? string
---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:notify(event, state, body, options) end

---@param event string
---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:subscribe(event, options) end

---@param target string | siphook.test.call
---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:refer(target, options) end

---@param target string | siphook.test.call
---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:transfer(target, options) end

---@param method string
---@param options? siphook.test.request_options
---@return siphook.test.sent
function call:request(method, options) end

---@param name string
---@return string?
function call:header(name) end

---@param name string
---@return string[]
function call:headers(name) end

return t
