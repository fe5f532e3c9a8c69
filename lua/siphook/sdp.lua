-- Session descriptions of tests: written from a few words, read into a table.
local native = ...

local sdp = {}

local known = {                                      -- RFC 3551 and what phones offer beside it
  PCMU = { 0, "PCMU/8000" }, GSM = { 3, "GSM/8000" }, G723 = { 4, "G723/8000" }, PCMA = { 8, "PCMA/8000" },
  G722 = { 9, "G722/8000" }, G729 = { 18, "G729/8000" },
  opus = { 96, "opus/48000/2", "minptime=10;useinbandfec=1" }, ["telephone-event"] = { 101, "telephone-event/8000", "0-16" },
  H264 = { 97, "H264/90000", "profile-level-id=42801F" }, VP8 = { 98, "VP8/90000" },
}

local static = {}                                    -- by payload: those that need no rtpmap
for name, entry in pairs(known) do
  if entry[1] < 96 then static[entry[1]] = name end
end

local directions = { sendrecv = "sendrecv", sendonly = "recvonly", recvonly = "sendonly", inactive = "inactive" }

local Sdp = {}
Sdp.__index = Sdp
Sdp.__tostring = function(self) return self.text end

-- The media section of that kind ("audio"), or the first one.
local function media_of(self, kind)
  for _, media in ipairs(self.media) do
    if not kind or media.kind == kind then return media end
  end
end

-- Whether a codec is offered; case does not matter.
function Sdp:has(name, kind)
  for _, media in ipairs(self.media) do
    if not kind or media.kind == kind then
      for _, codec in ipairs(media.codecs) do
        if codec.name:lower() == name:lower() then return true end
      end
    end
  end
  return false
end

-- The names of the codecs of the first (or that) medium, in order.
function Sdp:names(kind)
  local list, media = {}, media_of(self, kind)
  for _, codec in ipairs(media and media.codecs or {}) do list[#list + 1] = codec.name end
  return list
end

local function read_media(line, session)
  local kind, port, proto, formats = line:match "^m=(%S+) (%d+)[/%d]* (%S+) ?(.*)$"
  if not kind then return nil end
  local media = { kind = kind, port = tonumber(port), proto = proto, codecs = {}, attributes = {}, ip = session.ip,
                  direction = session.direction }
  for payload in formats:gmatch "%S+" do
    local codec = { payload = tonumber(payload) or payload, name = payload, rate = 0 }
    if static[codec.payload] then codec.name, codec.rate = static[codec.payload], 8000 end
    media.codecs[#media.codecs + 1] = codec
  end
  return media
end

local function read_attribute(media, name, value)
  if directions[name] then
    media.direction = name
  elseif name == "rtpmap" or name == "fmtp" then
    local payload, rest = value:match "^(%d+) (.*)$"
    for _, codec in ipairs(media.codecs) do
      if tostring(codec.payload) == payload and name == "fmtp" then
        codec.fmtp = rest
      elseif tostring(codec.payload) == payload then
        codec.name, codec.rate = rest:match "^([^/]+)/(%d+)"
        codec.rate = tonumber(codec.rate)
      end
    end
  end
  media.attributes[name] = value == nil and true or value
end

-- A table of the parts of an SDP text: ip, version, direction, media = {{kind, port, proto, ip, direction, codecs, attributes}};
-- nil when it is none.
function sdp.read(text)
  if not text or not text:find "^v=" then return nil end
  local s = setmetatable({ text = text, media = {}, attributes = {}, codecs = {}, direction = "sendrecv" }, Sdp)
  local at = s
  for line in text:gmatch "[^\r\n]+" do
    local kind, value = line:match "^(%a)=(.*)$"
    if kind == "m" then
      at = read_media(line, s) or at
      if at ~= s then s.media[#s.media + 1] = at end
    elseif kind == "c" then
      at.ip = value:match "%S+$"
    elseif kind == "o" then
      s.session, s.version = value:match "^%S+ (%S+) (%S+)"
    elseif kind == "a" then
      local name, rest = value:match "^([^:]+):(.*)$"
      read_attribute(at, name or value, rest)
    end
  end
  local first = s.media[1]
  if first then s.direction, s.port, s.codecs, s.ip = first.direction, first.port, first.codecs, first.ip or s.ip end
  return s
end

local function write_codecs(lines, names, payloads)
  for i, name in ipairs(names) do
    local entry = known[name] or { 109 + i, name:find "/" and name or name .. "/8000" }
    local payload = payloads and payloads[name] or entry[1]
    lines[#lines + 1] = ("a=rtpmap:%d %s"):format(payload, entry[2])
    if entry[3] then lines[#lines + 1] = ("a=fmtp:%d %s"):format(payload, entry[3]) end
  end
end

local function payload_list(names, payloads)
  local list = {}
  for i, name in ipairs(names) do
    list[i] = tostring(payloads and payloads[name] or (known[name] or { 109 + i })[1])
  end
  return table.concat(list, " ")
end

-- An SDP text. options: ip, port, codecs = {"PCMA", ...}, direction, version, session, video = true or a list of codecs.
function sdp.write(options)
  local o = options or {}
  local ip, version, session = o.ip or "192.0.2.200", o.version or 1, o.session or 1
  local family = ip:find ":" and "IP6" or "IP4"
  ip = ip:gsub("[%[%]]", "")
  local codecs = o.codecs or { "PCMA", "PCMU", "telephone-event" }
  local lines = {
    "v=0", ("o=- %s %s IN %s %s"):format(session, version, family, ip), "s=-", ("c=IN %s %s"):format(family, ip), "t=0 0",
    ("m=audio %d RTP/AVP %s"):format(o.port or 40000, payload_list(codecs, o.payloads)),
  }
  write_codecs(lines, codecs, o.payloads)
  lines[#lines + 1] = "a=" .. (o.direction or "sendrecv")
  if o.video then
    local video = o.video == true and { "VP8" } or o.video
    lines[#lines + 1] = ("m=video %d RTP/AVP %s"):format((o.port or 40000) + 2, payload_list(video))
    write_codecs(lines, video)
    lines[#lines + 1] = "a=" .. (o.direction or "sendrecv")
  end
  return table.concat(lines, "\r\n") .. "\r\n"
end

-- The answer to an offer (RFC 3264 6): its media in its order, the codecs that both know, the direction turned round. options as
-- for sdp.write; what is not known at all is refused with port 0.
function sdp.answer(offer, options)
  local o, theirs = options or {}, type(offer) == "string" and sdp.read(offer) or offer
  if not theirs or not theirs.media[1] then return sdp.write(o) end
  local ip, family = (o.ip or "192.0.2.200"):gsub("[%[%]]", ""), (o.ip or ""):find ":" and "IP6" or "IP4"
  local lines = { "v=0", ("o=- %s %s IN %s %s"):format(o.session or 1, o.version or 1, family, ip), "s=-",
                  ("c=IN %s %s"):format(family, ip), "t=0 0" }
  for i, media in ipairs(theirs.media) do
    local mine = o.codecs and {} or nil
    for _, name in ipairs(o.codecs or {}) do mine[name:lower()] = true end
    local payloads, maps = {}, {}
    for _, codec in ipairs(media.codecs) do
      if not mine or mine[codec.name:lower()] then
        payloads[#payloads + 1] = tostring(codec.payload)
        if codec.rate > 0 then maps[#maps + 1] = ("a=rtpmap:%s %s/%d"):format(codec.payload, codec.name, codec.rate) end
        if codec.fmtp then maps[#maps + 1] = ("a=fmtp:%s %s"):format(codec.payload, codec.fmtp) end
      end
    end
    local refused = media.port == 0 or #payloads == 0
    if refused and media.codecs[1] then payloads[1] = tostring(media.codecs[1].payload) end
    lines[#lines + 1] = ("m=%s %d %s %s"):format(media.kind, refused and 0 or (o.port or 40000) + 2 * (i - 1), media.proto,
                                                 table.concat(payloads, " "))
    table.move(maps, 1, #maps, #lines + 1, lines)
    if not refused then lines[#lines + 1] = "a=" .. (o.direction or directions[media.direction]) end
  end
  return table.concat(lines, "\r\n") .. "\r\n"
end

native.sdp = sdp
