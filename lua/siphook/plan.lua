-- A plan: a dial plan loaded by the real engine on a virtual network with a virtual clock, and the parties around it.
local native = ...
local phone, ladder, http = native.phone, native.ladder, native.web

local plan = {}
local Plan = {}
Plan.__index = Plan
Plan.__name = "plan"

local SECOND = 1000000
local SETTLE = 120 * SECOND                        -- after the end of a case, until nothing may be left
local number, share = { number = true, what = "a number from 0 on" }, { number = true, what = "a share from 0 to 1" }
local stores = { table = true, what = "a table" }
local options_known = {
  shared = stores, config = stores, http = { table = true, ["function"] = true, what = "a table or function" },
  seed = number, loss = share, duplicate = share, reorder = share, delay = number, workers = number, patience = number,
  domain = { string = true, what = "a name" },
  time = { number = true, table = true, what = "seconds since 1970 or a table as for os.time" },
  credulous = { boolean = true, what = "a boolean" },
  world = true, address = true, port = true,                      -- of siphook replay and of self-tests
}

local function check(key, value)
  local kind, known = type(value), options_known[key]
  if not known then native.fail(nil, ("t.load: unknown option '%s'"):format(tostring(key))) end
  local fits = known == true or known[kind] and (kind ~= "number" or value >= 0)
  if not fits then
    native.fail(nil, ("t.load: option '%s': %s expected, got %s"):format(key, known.what, kind == "number" and tostring(value) or kind))
  end
end

-- Seconds since 1970 of what the option `time` is.
local function seconds_of(time)
  if type(time) ~= "table" then return time end
  local good, result = pcall(os.time, time)
  if not good then native.fail(nil, "t.load: option 'time': " .. result:gsub("^.-:%d+: ", "")) end
  return result
end

-- native.defaults: seed and loss of the command line.
function plan.load(path, options)
  local o = options or {}
  for key, value in pairs(o) do check(key, value) end
  local self = setmetatable({ path = path, wire = {}, parties = {}, places = {}, timers = {}, by_address = {}, counter = 0, options = o }, Plan)
  local loss = o.loss or native.defaults.loss
  local delay = o.delay and math.floor(o.delay * SECOND)
  local time = seconds_of(o.time)
  local world, why = o.world, nil
  if not world then world, why = native.world{
    script = path, seed = o.seed or native.defaults.seed, loss = loss, duplicate = o.duplicate, reorder = o.reorder, delay_min = delay,
    delay_max = delay, workers = o.workers, shared = o.shared, config = o.config,
    address = o.address, port = o.port, credulous = o.credulous, time = time,
  } end
  if not world then native.fail(nil, why) end
  self.world, self.lossy = world, loss > 0
  self.patience = o.patience or (self.lossy and 35 or 1)
  self.ip, self.port = world:address()
  self.domain = o.domain or world:domain() or self.ip
  self.started = world:now()
  http.attach(self, o.http)
  return self
end

---------------------------------------------------------------------------------------------- time and the network

function Plan:token(prefix)
  self.counter = self.counter + 1
  return prefix .. self.counter
end

function Plan:transmit(who, transport, ip, port, text, again)
  self.wire[#self.wire + 1] = { at = self.world:now(), phone = who, sent = true, text = text, again = again }
  self.world:send(who.place, transport, ip, port, text)
end

-- All that was on the wire, oldest first. What we sent is read only now: most cases never look.
function Plan:messages()
  for _, entry in ipairs(self.wire) do
    entry.message = entry.message or native.message(entry.text) or entry.text
  end
  return self.wire
end

-- Runs fn(now) after so many microseconds, while somebody waits or advances.
function Plan:after(us, fn)
  local timer, timers = { at = self.world:now() + us, fn = fn }, self.timers
  local i = #timers + 1
  while i > 1 and timers[i - 1].at > timer.at do i = i - 1 end
  table.insert(timers, i, timer)
end

-- One thing that happens until then: an arrival is given to its phone, a timer of ours runs. False: it is `stop`, or (quiet) nothing is
-- left in the engine.
function Plan:step(stop, quiet)
  if self.broken then native.fail(self, self.broken) end
  local timer = self.timers[1]
  local until_then = timer and timer.at < stop and timer.at or stop
  local place, message, transport, ip, port, at = self.world:receive(until_then, quiet)
  if place then
    local who = self.places[place]
    self.wire[#self.wire + 1] = { at = at, phone = who, message = message }
    who:take(message, transport, ip, port, at)
    return true
  end
  if timer and timer.at <= self.world:now() then
    table.remove(self.timers, 1)
    timer.fn(self.world:now())
    return true
  end
  return false
end

-- Until look() is true, at most so many microseconds.
function Plan:wait(look, us)
  local stop = self.world:now() + us
  while not look() do
    if not self:step(stop) then return false end
  end
  return true
end

function Plan:advance(seconds)
  if type(seconds) ~= "number" or seconds < 0 then error("advance: seconds expected", 2) end
  local stop = self.world:now() + math.floor(seconds * SECOND + 0.5)
  while self:step(stop) do end
  return self
end

function Plan:now() return (self.world:now() - self.started) / SECOND end

---------------------------------------------------------------------------------------------- parties

local IPV6 = "2001:db8:5060::1"                    -- where the engine is beside its IPv4 address (world.c)

local function add(self, o)
  if o.ip:find ":" and not self.options.address then o.proxy = { ip = IPV6, port = self.port } end
  local place, why = self.world:listen(o.ip, o.port or 5060)
  if not place then native.fail(self, ("%s: %s:%d: %s"):format(o.name, o.ip, o.port or 5060, why)) end
  o.place = place
  local same = 1
  for _, other in ipairs(self.parties) do
    if other.given == o.name then same = same + 1 end
  end
  local given = o.name
  if same > 1 then o.name = ("%s (%d)"):format(o.name, same) end    -- a second phone of the same user
  local who = phone.new(self, o)
  who.given = given
  self.parties[#self.parties + 1], self.places[place] = who, who
  return who
end

local phone_known = { password = true, login = true, domain = true, display = true, transport = true, ip = true, port = true,
                      user_agent = true, codecs = true, algorithm = true, user = true, habits = true, supported = true, allow = true, realm = true }

-- plan:phone(name [, {password=, login=, domain=, display=, transport="udp"|"tcp", ip=, port=, codecs=, algorithm=}])
function Plan:phone(name, options)
  if type(name) ~= "string" then error("phone: a name expected, got " .. type(name), 2) end
  local o = { name = name, user = name, domain = self.domain, proxy = { ip = self.ip, port = self.port } }
  for key, value in pairs(options or {}) do
    if not phone_known[key] then error(("phone: unknown option '%s'"):format(tostring(key)), 2) end
    o[key] = value
  end
  local user, domain = name:match "^(.-)@(.+)$"
  if user then o.user, o.domain = user, domain end
  o.ip = o.ip or ("198.18.%d.%d"):format(1 + #self.parties // 250, 1 + #self.parties % 250)
  return add(self, o)
end

-- plan:peer "10.0.0.2", "10.0.0.2:5080", "[2001:db8::1]", "gw.example.net" (a name that then resolves), a SIP URI.
function Plan:peer(address, options)
  if type(address) ~= "string" then error("peer: an address expected, got " .. type(address), 2) end
  local text = address:gsub("^sips?:", ""):gsub("[;?].*$", ""):gsub("^[^@]*@", "")
  local host, port = text:match "^(%[[^%]]+%]):?(%d*)$"
  if not host then host, port = text:match "^([^:]+):?(%d*)$" end
  if not host then error(("peer: '%s' is no address"):format(address), 2) end
  local o = { name = address, user = "peer", domain = host, proxy = { ip = self.ip, port = self.port }, peer = true }
  for key, value in pairs(options or {}) do
    if not phone_known[key] and key ~= "name" then error(("peer: unknown option '%s'"):format(tostring(key)), 2) end
    o[key] = value
  end
  o.port = tonumber(port) or o.port or 5060
  if host:find "^%d+%.%d+%.%d+%.%d+$" or host:find "^%[" then
    o.ip = host:gsub("[%[%]]", "")
  else
    o.ip = o.ip or ("198.18.%d.%d"):format(1 + #self.parties // 250, 1 + #self.parties % 250)
    self.world:name(host, o.ip)
  end
  return add(self, o)
end

-- How the network treats what siphook sends to an address: "silent" (nothing comes back), "refused", "up".
function Plan:network(address, mode)
  local host, port = address:match "^(.-):(%d+)$"
  self.world:reach(host or address, tonumber(port) or 0, mode)
  return self
end

---------------------------------------------------------------------------------------------- the engine

-- Another answer of the web servers: plan:http([method,] url, answer), see siphook/http.lua.
function Plan:http(...)
  http.add(self, ...)
  return self
end

-- A request that the script has made: of that method, to a URL that matches. {method=, url=, headers=, body=}
function Plan:expect_http(method, pattern)
  local found
  self:wait(function()
    for _, request in ipairs(self.requests) do
      if not request.consumed and request.method == method and http.fits(request.url, pattern) then
        found = request
        return true
      end
    end
  end, math.floor(self.patience * SECOND))
  if not found then
    local list = {}
    for i, request in ipairs(self.requests) do list[i] = request.method .. " " .. request.url end
    native.fail(self, ("expected an HTTP request %s %s, but %s"):format(method, pattern or "",
      #list > 0 and table.concat(list, ", ") .. " came" or "none came"))
  end
  found.consumed = true
  return found
end

-- The live calls, the registrations, the state of the engine, as `siphook calls`, `registrations` and `status` show them.
function Plan:calls() return native.json.decode(self.world:query "calls") end
function Plan:registrations() return native.json.decode(self.world:query "registrations") end
function Plan:status() return native.json.decode(self.world:query "status") end

-- As `siphook record`: the next call, whose INVITE contains the text; later its record as JSON text, nil while it goes on.
function Plan:record(filter)
  self.world:record(filter)
  return self
end

function Plan:recorded()
  local answer = self.world:query "record"
  return answer:match '^{"state":"done","record":(.*)}$'
end

-- The file is read again (or another one takes its place by its content: see the test library's manual). The generation.
function Plan:reload()
  local generation, why = self.world:reload()
  if not generation then native.fail(self, "the reload was refused: " .. why) end
  return generation
end

-- As `siphook rollback`: the text before. The generation.
function Plan:rollback()
  local generation, why = self.world:reload(true)
  if not generation then native.fail(self, "the rollback was refused: " .. why) end
  return generation
end

local function set_shared(world, name, key, value, ttl)
  if type(value) ~= "table" then return native.shared_set(world, name, key, value, ttl) end
  native.shared_set(world, name, key, nil)
  for _, item in ipairs(value) do native.shared_push(world, name, key, item, ttl) end
end
plan.set_shared = set_shared                       -- ttl: microseconds

-- A store of sip.shared from outside: plan:shared("users"):get(key), :set(key, value); a list becomes a list of the store.
function Plan:shared(name)
  local world = self.world
  return {
    get = function(_, key) return native.shared_get(world, name, key) end,
    set = function(_, key, value) set_shared(world, name, key, value) end,
    delete = function(_, key) native.shared_set(world, name, key, nil) end,
  }
end

-- What the script did and what was logged, oldest first.
function Plan:events() return self.world:events() end

function Plan:log()
  local lines = {}
  for _, event in ipairs(self.world:events()) do
    if event.level then lines[#lines + 1] = event.text end
  end
  return lines
end

-- A line of the log matches.
function Plan:expect_log(pattern)
  for _, line in ipairs(self:log()) do
    if line:find(pattern) or line:find(pattern, 1, true) then return line end
  end
  native.fail(self, ('no line of the log matches "%s"'):format(pattern))
end

function Plan:ladder() return table.concat(ladder.draw(self), "\n") end

-- Ends what the test left, and looks whether anything stays behind in the engine. nil, or what does.
function Plan:settle()
  local stop = self.world:now() + SETTLE
  for _, party in ipairs(self.parties) do party:finish() end
  self.world:quiet()
  while self:step(stop, true) do end
  return self.world:busy()
end

-- The end of the plan; a call, leg or transaction that stays fails the case.
function Plan:close()
  if self.closed then return end
  local left = self:settle()
  if left then native.fail(self, "something is left after the end: " .. left) end
  self:drop()
end

function Plan:drop()
  if self.closed then return end
  self.closed = true
  self.world:close()
end

native.plan = plan
