---@meta siphook
-- Types of the table that require "siphook" gives, for editors with the Lua language server. Add this folder to
-- `Lua.workspace.library`. docs/lua.md and docs/lua/ say what everything means.

---@class siphook
---@field on siphook.hooks
---@field timer table<string, fun(what: any)> what sip.after and call:after name
---@field config table<string, string> what the host gives, read-only
---@field log siphook.log
---@field base64 siphook.base64
---@field http siphook.http
---@field json siphook.json
local sip = {}

---@class siphook.hooks
---@field invite fun(hook: fun(call: siphook.call))
---@field register fun(hook: fun(req: siphook.request))
---@field subscribe fun(hook: fun(sub: siphook.subscription))
---@field publish fun(hook: fun(req: siphook.request))
---@field reinvite fun(hook: fun(req: siphook.request))
---@field update fun(hook: fun(req: siphook.request))
---@field info fun(hook: fun(req: siphook.request))
---@field message fun(hook: fun(req: siphook.request))
---@field options fun(hook: fun(req: siphook.request))
---@field notify fun(hook: fun(req: siphook.request))
---@field refer fun(hook: fun(ref: siphook.refer))
---@field ack fun(hook: fun(req: siphook.request))
---@field bye fun(hook: fun(req: siphook.request))
---@field cancel fun(hook: fun(req: siphook.request))
---@field prack fun(hook: fun(req: siphook.request))
---@field answer fun(hook: fun(call: siphook.call))
---@field sdp fun(hook: fun(sdp: siphook.sdp, info: siphook.sdp_info))
---@field hangup fun(hook: fun(call: siphook.call, why: siphook.why))
---@field binding fun(hook: fun(aor: string, contact: siphook.binding, event: "added" | "refreshed" | "removed" | "expired" | "lost"))
---@field load fun(hook: fun(event: { generation: integer, reason: "start" | "reload" }))
---@field unload fun(hook: fun(event: { generation: integer, reason: "reload" | "stop" }))

---@class siphook.why
---@field by "caller" | "callee" | "script" | "engine"
---@field code integer
---@field reason string
---@field q850? integer
---@field q850_name? string

---@class siphook.uri
---@field scheme string
---@field user? string
---@field password? string
---@field host? string
---@field port? integer
---@field params table<string, string | true>
---@field headers table<string, string | true>
---@field display? string
---@field tag? string
---@field field table<string, string | true> parameters of the header field
---@field uri string
local uri = {}

---@class siphook.codec
---@field name string
---@field rate? integer
---@field payload? integer
---@field fmtp? string

---@class siphook.media
---@field kind string
---@field port integer
---@field proto string
---@field address? string
---@field direction "sendrecv" | "sendonly" | "recvonly" | "inactive"
---@field codecs siphook.codec[]

---@class siphook.sdp_info
---@field call siphook.call
---@field from? siphook.leg
---@field to? siphook.leg
---@field kind "offer" | "answer"
---@field early boolean

---@class siphook.sdp
---@field media siphook.media[]
---@field text string
local sdp = {}
---@param codecs string | string[]
---@return siphook.sdp
function sdp:keep(codecs) end
---@param codecs string | string[]
---@return siphook.sdp
function sdp:drop(codecs) end
---@param codecs string | string[]
---@return siphook.sdp
function sdp:prefer(codecs) end
---@param name string
---@return boolean
function sdp:has(name) end

---@class siphook.uri_parts
---@field scheme? string | false
---@field user? string | false
---@field password? string | false
---@field host? string
---@field port? integer | false
---@field params? table<string, string | boolean> | false
---@field headers? table<string, string | boolean> | false
---@field display? string | false
---@field tag? string | false

---@param parts siphook.uri_parts
---@return siphook.uri
function uri:with(parts) end

---@alias siphook.header_values table<string, string | number | (string | number)[] | false>
---@alias siphook.address string | siphook.uri

---@class siphook.login
---@field user string
---@field password string
---@field realm? string without it: for every realm

---@class siphook.message
---@field method string
---@field uri siphook.uri
---@field from siphook.uri
---@field to siphook.uri
---@field contact? siphook.uri
---@field call_id string
---@field cseq integer
---@field max_forwards? integer
---@field expires? integer
---@field event? string
---@field body? string
---@field content_type? string
---@field source { ip: string, port: integer, transport: string, tls?: string[] }
---@field auth_user? string whom auth() has proven
---@field trusted boolean
---@field trunk? siphook.trunk that it came from, by its source address
---@field flow? userdata of the phone that it comes back to, by a token in its Route
---@field call? siphook.call
---@field leg? siphook.leg
---@field generation integer
---@field [string] string | nil first value of a header field
local message = {}

---@param name string
---@return string[]
function message:headers(name) end

---@class siphook.auth_options
---@field realm string
---@field password? string | fun(name: string, realm: string): string?
---@field ha1? fun(name: string, realm: string, algorithm: string): string?
---@field algorithms? ("SHA-256" | "MD5" | "SHA-512-256")[]
---@field qop? "auth" | ""
---@field proxy? boolean

---Waits if the function waits. Nil: the answer was sent.
---@async
---@param options siphook.auth_options
---@return string? name
function message:auth(options) end

---@param options siphook.auth_options
function message:challenge(options) end

---@class siphook.request : siphook.message
local request = {}

---@class siphook.reply_options
---@field headers? siphook.header_values
---@field body? string
---@field content_type? string

---@param code integer
---@param reason? string
---@param options? siphook.reply_options
---@return true? ok, string? code, string? detail
---@overload fun(self, code: integer, options: siphook.reply_options): true?, string?, string?
function request:reply(code, reason, options) end

---Waits in a call.
---@async
---@param options? siphook.reply_options
---@return siphook.result?, string? code, string? detail
function request:pass(options) end

---Waits.
---@async
---@param targets siphook.targets
---@param options? siphook.relay_options
---@return siphook.result?, "empty" | string | nil
function request:relay(targets, options) end

---@return { signal: string, duration: number? }?
function message:dtmf() end

---@class siphook.register_options
---@field aor? siphook.address
---@field min_expires? integer
---@field max_expires? integer
---@field default_expires? integer
---@field max_contacts? integer
---@field on_limit? "reject" | "replace"
---@field nat? "auto" | "always" | "never"
---@field keepalive? "none" | "crlf" | "options"
---@field keepalive_interval? integer
---@field flow_timer? integer
---@field outbound? "allow" | "require"

---@param options? siphook.register_options
---@return siphook.binding[]? bindings, integer? code
function message:register(options) end

---@class siphook.result
---@field code integer
---@field reason string
---@field cause? "busy" | "declined" | "no_answer" | "unreachable" | "not_found" | "redirected" | "rejected" | "failed" | "empty"
---@field headers table<string, string>
---@field body? string
---@field contacts siphook.uri[]
---@field branches { uri: string, code: integer, reason: string }[]
---@field [string] string | nil

---@class siphook.sending_options
---@field pai? siphook.address
---@field privacy? string
---@field headers? siphook.header_values
---@field transport? "udp" | "tcp" | "tls" | "ws" | "wss"
---@field route? siphook.address
---@field auth? siphook.login | siphook.login[]
---@field listener? string

---@class siphook.relay_options : siphook.sending_options
---@field from? siphook.address
---@field to? siphook.address
---@field display? string
---@field diversion? siphook.address
---@field copy? string[]
---@field timeout? number

---@class siphook.target_options : siphook.relay_options
---@field delay? number

---@class siphook.target : siphook.target_options
---@field uri siphook.address | siphook.trunk
---@field user? string with a trunk
---@field q? number
---@field group? integer
---@field path? string
---@field flow? userdata
---@field expires? number what sip.lookup tells of it, as are those below
---@field user_agent? string
---@field aor? string

---A contact of a redirect.
---@class siphook.redirect
---@field uri siphook.address
---@field q? number
---@field expires? number
---@field group? integer ignored, as are those below: sip.lookup gives them
---@field path? string
---@field flow? userdata
---@field user_agent? string
---@field aor? string

---@alias siphook.redirects siphook.address | siphook.redirect | (siphook.address | siphook.redirect)[]

---@alias siphook.targets siphook.trunk | siphook.address | siphook.target | (siphook.address | siphook.target | siphook.trunk)[] | (siphook.address | siphook.target | siphook.trunk)[][]

---@class siphook.fork_options : siphook.target_options
---@field first_timeout? number
---@field early? "relay" | "drop" | "first"
---@field tags? "branch" | "single"
---@field follow_redirects? integer
---@field on_branch? fun(leg: siphook.leg, event: "trying"|"ringing"|"early"|"answered"|"failed"|"cancelled", res: siphook.result)
---@field ignore_6xx? boolean
---@field sdp? string
---@field replaces? string | siphook.dialog_ids | siphook.leg

---@class siphook.call : siphook.message
---@field id string
---@field state "setup" | "early" | "up" | "ended"
---@field a? siphook.leg
---@field b? siphook.leg
---@field duration number
---@field times { start: number, ring: number?, answer: number?, stop: number? }
---@field data table
local call = {}

---@param code? integer
---@param options? { headers: siphook.header_values?, sdp: string? }
---@return true? ok, string? code, string? detail
---@overload fun(self, options: { headers: siphook.header_values?, sdp: string? }): true?, string?, string?
function call:ring(code, options) end

---@param code integer | siphook.result
---@param reason? string
---@param options? { headers: siphook.header_values?, warning: string? }
---@return true? ok, string? code, string? detail
---@overload fun(self, code: integer | siphook.result, options: { headers: siphook.header_values?, warning: string? }): true?, string?, string?
function call:reject(code, reason, options) end

---@param target siphook.redirects
---@param code? integer
---@param options? { headers: siphook.header_values? }
---@return true? ok, string? code, string? detail
---@overload fun(self, target: siphook.redirects, options: { headers: siphook.header_values? }): true?, string?, string?
function call:redirect(target, code, options) end

---Waits.
---@async
---@param targets siphook.targets
---@param options? siphook.fork_options
---@return siphook.leg? leg, siphook.result result
function call:fork(targets, options) end

---Waits.
---@async
---@param leg siphook.leg
---@param options? { headers: siphook.header_values?, on_peer_hangup: ("end" | "continue")?, max_duration: number? }
---@return true? ok, siphook.result | string | nil
function call:bridge(leg, options) end

---Waits.
---@async
---@param targets siphook.targets
---@param options? siphook.fork_options
---@return true? ok, siphook.result result
function call:dial(targets, options) end

---Waits. Fork, then bridge, with the result of the one that won.
---@async
---@param targets siphook.targets
---@param options? siphook.fork_options
---@return siphook.result? result, "empty" | string | nil
function call:relay(targets, options) end

---@param how? integer | { q850: integer?, reason: string? }
---@return true? ok, string? code
function call:hangup(how) end

---@param seconds number
---@param name string of sip.timer
---@return true? ok, string? code
function call:after(seconds, name) end

---@return true? ok, string? code
function call:pin() end

---Waits.
---@async
---@param options? { sdp: string?, headers: siphook.header_values? }
---@return true? ok, siphook.result | string | nil
function call:answer(options) end

---Waits.
---@async
---@param event "hangup" | "peer_hangup" | "dtmf" | "info" | "message" | "reinvite" | string
---@param timeout? number
---@return any data, "timeout" | "gone" | nil
function call:wait(event, timeout) end

---@param name string
---@param data? any plain values
---@return true? ok, string? code, string? detail
function call:signal(name, data) end

---A 2xx waits for the ACK.
---@async
---@param code integer 101 to 699
---@param reason? string
---@param options? siphook.reply_options
---@return true? ok, string? code, string? detail
---@overload fun(self: siphook.call, code: integer, options: siphook.reply_options): true?, string?, string?
function call:reply(code, reason, options) end

---@param options? siphook.reply_options
---@return siphook.result?, string? code, string? detail
function call:pass(options) end

---Does not return.
---@param name string of sip.timer
function call:continue(name) end

---@param key string
---@param max integer
---@return true? ok, integer | string | nil count
function call:limit(key, max) end

---@class siphook.leg
---@field uri siphook.uri
---@field state "trying" | "early" | "answered" | "up" | "ending" | "ended"
---@field code integer
---@field call_id string
---@field local_sdp? string
---@field remote_sdp? string
---@field user_agent? string
local leg = {}

---@return true? ok, string? code
function leg:hangup() end

---@class siphook.binding
---@field uri string
---@field q number
---@field expires number
---@field source { ip: string, port: integer, transport: string, tls?: string[] }
---@field call_id string
---@field behind_nat boolean
---@field user_agent? string
---@field instance? string
---@field reg_id? integer
---@field path? string

---@param aor siphook.address
---@param options? { expired: boolean? }
---@return siphook.target[]
function sip.lookup(aor, options) end

---@param aor siphook.address
---@return siphook.binding[]
function sip.bindings(aor) end

---@param aor siphook.address
---@param contact? siphook.address
---@return integer? count, string? code, string? detail
function sip.unbind(aor, contact) end

---@param names string[]
function sip.domains(names) end

---@class siphook.listen_tls
---@field certificate string | string[]
---@field private_key? string | string[]
---@field ca? string
---@field verify? "yes" | "no" | "optional" | "mutual"

---@class siphook.listen_options
---@field uri string
---@field advertise? string
---@field nat? "auto" | "always" | "never"
---@field max_connections? integer
---@field max_per_source? integer
---@field idle_timeout? number
---@field message_timeout? number
---@field handshake_timeout? number
---@field tls? siphook.listen_tls
---@field origins? string|string[]
---@field ping? number

---@param options siphook.listen_options
function sip.listen(options) end

---@class siphook.acl
---@field allow? string[]
---@field deny? string[]
---@field trust? string[]
---@field rate? integer
---@field burst? integer
---@field max_failures? integer
---@field failure_window? number
---@field ban_time? number
---@field emergency? string[]
---@field max_connections? integer
---@field max_handshakes? integer

---@param rules siphook.acl
function sip.acl(rules) end

---@return number seconds
function sip.now() end

---Waits.
---@async
---@param seconds number
function sip.sleep(seconds) end

---@param seconds number
---@param what fun() | string
---@param data? any
---@return true? ok, "limit"? code
function sip.after(seconds, what, data) end

---Runs beside the hook.
---@param what fun(...: any)
---@param ... any
function sip.spawn(what, ...) end

---@class siphook.snapshot
---@field id string
---@field state "setup" | "early" | "up"
---@field from siphook.uri
---@field to siphook.uri
---@field uri siphook.uri
---@field worker integer
---@field age number
---@field duration number
---@field times { start: number, ring: number?, answer: number? }
---@field data table
---@field a_call_id? string
---@field b_call_id? string
---@field b_uri? siphook.uri
local snapshot = {}

---Waits if the call lives on another worker.
---@async
---@param how? integer | { q850: integer?, reason: string? }
---@return true? ok, string? code
function snapshot:hangup(how) end

---Waits.
---@async
---@param target siphook.address
---@param options? siphook.transfer_options
---@return true? ok, any result
function snapshot:transfer(target, options) end

---Waits if the call lives on another worker.
---@async
---@param name string
---@param data? any
---@return true? ok, string? code
function snapshot:signal(name, data) end

---Waits if there are several workers.
---@async
---@return siphook.snapshot[]
function sip.calls() end

---Waits if the call lives on another worker.
---@async
---@param id string
---@return siphook.snapshot?, string? code
function sip.find_call(id) end

---@param name string
---@param value number
---@param labels? table<string, string | number | boolean>
---@return true? ok, string? code
function sip.metric(name, value, labels) end

---@param seconds number
---@param what fun()
---@param options? { each_worker: boolean? }
function sip.every(seconds, what, options) end

---@param e any
---@return boolean
function sip.is_cancel(e) end

---@param e any
---@return boolean
function sip.is_retired(e) end

---@param what string | siphook.uri | siphook.uri_parts
---@return siphook.uri?, string? code, string? detail
function sip.uri(what) end

---@param text? string | siphook.sdp
---@return siphook.sdp? sdp
---@return string? code
---@return string? detail
function sip.sdp(text) end

---@alias siphook.algorithm "md5" | "sha1" | "sha256" | "sha384" | "sha512" | "sha512-256"

---@param algorithm siphook.algorithm
---@param text string
---@param form? "hex" | "raw"
---@return string
function sip.hash(algorithm, text, form) end

---@param algorithm siphook.algorithm
---@param key string
---@param text string
---@param form? "hex" | "raw"
---@return string
function sip.hmac(algorithm, key, text, form) end

---@return string
function sip.uuid() end

---@class siphook.base64
---@field encode fun(text: string): string
---@field decode fun(text: string): string?, string?

---@class siphook.log
---@field debug fun(format: any, ...: any)
---@field info fun(format: any, ...: any)
---@field warn fun(format: any, ...: any)
---@field error fun(format: any, ...: any)

---@class siphook.store
local store = {}

---@param name string
---@param options? { size: integer?, evict: ("refuse" | "oldest")?, persist: boolean? }
---@return siphook.store
function sip.shared(name, options) end

---@alias siphook.value string | number | boolean

---@param key string
---@return siphook.value?, string? code
function store:get(key) end

---@param key string
---@param value siphook.value | nil
---@param options? { ttl: number? }
---@return true?, string? code
function store:set(key, value, options) end

---@param key string
---@param value siphook.value
---@param options? { ttl: number? }
---@return true?, string? code
function store:add(key, value, options) end

---@param key string
---@param n? number
---@param options? { ttl: number? }
---@return number?, string? code
function store:incr(key, n, options) end

---@param key string
---@return boolean
function store:delete(key) end

---@param key string
---@param value siphook.value
---@param options? { ttl: number? }
---@return integer? length, string? code
function store:push(key, value, options) end

---@param key string
---@return siphook.value?, string? code
function store:pop(key) end

---@param key string
---@return integer? length, string? code
function store:len(key) end

---@class siphook.lock
local lock = {}
function lock:unlock() end

---Waits. Of use as a <close> variable.
---@async
---@param key string
---@param timeout? number
---@return siphook.lock? lock, string? code
function store:lock(key, timeout) end

---@return string[]
function store:keys() end

---@class siphook.request_options : siphook.sending_options
---@field method string
---@field from? siphook.address
---@field to? siphook.address
---@field display? string
---@field timeout? number
---@field uri? siphook.address | siphook.trunk
---@field targets? siphook.targets
---@field body? string
---@field content_type? string

---@async
---@param request siphook.request_options
---@return siphook.result
function sip.request(request) end

---@class siphook.originate_options : siphook.sending_options
---@field timeout? number
---@field first_timeout? number
---@field first siphook.targets
---@field second? siphook.targets
---@field identity? siphook.address
---@field offer? boolean

---@async
---@param options siphook.originate_options
---@return siphook.call? call, siphook.result | string | nil
function sip.originate(options) end

---@class siphook.trunk
---@field name string
---@field state "trying" | "up" | "down"
---@field registered boolean
---@field code integer
---@field expires? number
---@field uri siphook.uri

---@class siphook.trunk_register
---@field expires? integer
---@field contact? string
---@field aor? siphook.address

---@class siphook.trunk_options : siphook.sending_options
---@field name string
---@field uri siphook.address | siphook.address[]
---@field from? siphook.address
---@field diversion? siphook.address
---@field copy? string[]
---@field register? boolean | siphook.trunk_register
---@field qualify? boolean | number

---@param trunk siphook.trunk_options
---@return siphook.trunk
function sip.trunk(trunk) end

---@class siphook.leg
---@field local_tag string of its dialog, ours
---@field remote_tag? string

---@class siphook.dialog_ids
---@field call_id string
---@field to_tag string
---@field from_tag string
---@field early_only? boolean

---@class siphook.transfer_options : siphook.fork_options
---@field keep? "a" | "b"
---@field offer? boolean the target is made the first offer; without it one in a browser is

---@class siphook.call
---@field replaces? siphook.dialog_ids of Replaces in its INVITE
---@field join? siphook.dialog_ids

---Waits.
---@async
---@param target siphook.targets
---@param options? siphook.transfer_options
---@return true? ok, siphook.result | string | nil result, string? detail
function call:transfer(target, options) end

---Waits.
---@async
---@param id? string of a call of this worker; without it the leg that Replaces names
---@return true? ok, siphook.result | string | nil result, string? detail
function call:pickup(id) end

---@class siphook.refer_options : siphook.fork_options
---@field targets? siphook.targets
---@field manual? boolean
---@field anyone? boolean it may name the dialog of anybody, not only of its sender
---@field offer? boolean the target is made the first offer; without it one in a browser is

---@class siphook.refer : siphook.request
---@field target siphook.uri
---@field replaces? siphook.dialog_ids
---@field referred_by? siphook.uri
local refer = {}

---Waits until the transfer is over.
---@async
---@param options? siphook.refer_options
---@return true? ok, siphook.result | string | nil result, string? detail
function refer:accept(options) end

---@param code integer
---@return true? ok, string? code, string? detail
function refer:reject(code) end

---@param code integer
---@param reason? string
---@return true? ok, string? code, string? detail
function refer:notify(code, reason) end

---@class siphook.subscribe_options
---@field expires? number
---@field serve? boolean
---@field aor? siphook.address
---@field pending? boolean
---@field headers? siphook.header_values

---@class siphook.subscription : siphook.request
---@field aor string
---@field state? "pending" | "active" | "terminated"
local subscription = {}

---@param options? siphook.subscribe_options
---@return true? ok, string? code, string? detail
function subscription:accept(options) end

---@param code integer
---@return true? ok, string? code, string? detail
function subscription:reject(code) end

---@param content_type string
---@param body string
---@param state? "active" | "pending" | "terminated"
---@return true? ok, string? code, string? detail
function subscription:notify(content_type, body, state) end

---@param reason? "noresource" | "deactivated" | "probation" | "rejected" | "timeout" | "giveup" | "invariant"
---@return true? ok, string? code, string? detail
function subscription:terminate(reason) end

---@param options? { expires: number?, aor: siphook.address?, headers: siphook.header_values? }
---@return true? ok, string? code, string? detail
function message:publish(options) end

---@param event string
---@param aor siphook.address
---@param content_type string
---@param body string
---@return true? ok, string? code, string? detail
function sip.notify(event, aor, content_type, body) end

---@class siphook.http_options
---@field timeout? number
---@field connect_timeout? number
---@field headers? table<string, string | number | (string | number)[]>
---@field content_type? string
---@field max_size? integer
---@field redirects? integer
---@field user? string
---@field password? string
---@field ca? string
---@field verify? boolean

---@class siphook.http_request : siphook.http_options
---@field url string
---@field method? string
---@field body? string

---@class siphook.http_response
---@field status integer
---@field headers table<string, string> in any case
---@field body string

---@class siphook.http
local http = {}

---Waits.
---@async
---@param url string
---@param options? siphook.http_options
---@return siphook.http_response? response, string? code, string? detail
function http.get(url, options) end

---Waits.
---@async
---@param url string
---@param body string
---@param options? siphook.http_options
---@return siphook.http_response? response, string? code, string? detail
function http.post(url, body, options) end

---Waits.
---@async
---@param request siphook.http_request
---@return siphook.http_response? response, string? code, string? detail
function http.request(request) end

---@param text string
---@return string
function http.escape(text) end

---@class siphook.json
---@field null userdata
local json = {}

---@param text string
---@return any value, string? code, string? detail
function json.decode(text) end

---@param value any
---@param options? { indent: integer? }
---@return string
function json.encode(value, options) end

---While the file loads.
---@param fn fun(plan: siphook.test.plan, t: siphook.test)
function sip.selftest(fn) end

return sip
