-- The ladder of a call: who sent what to whom, and between them the lines of the script that decided it.
local native = ...

local ladder = {}

local WIDTH = 26                                   -- of a column
local COLUMNS = 6                                  -- more parties than that: a list

local function label_of(message, again)
  local text
  if type(message) == "string" then
    text = ("%d bytes"):format(#message)
  elseif message.is_request then
    text = message.method
  else
    text = ("%d %s"):format(message.code, message.reason)
    if message.method ~= "INVITE" then text = ("%d %s"):format(message.code, message.method) end
  end
  return again and text .. " *" or text
end

local function arrow(from, to, columns, text)
  local left, right = math.min(from, to), math.max(from, to)
  local line, span = {}, (right - left) * WIDTH - 1
  if #text > span - 4 then text = text:sub(1, span - 4) end
  local dashes = span - #text - 1
  local before = from < to and dashes // 2 or dashes - dashes // 2
  local body = ("-"):rep(before) .. text .. ("-"):rep(dashes - before)
  body = from < to and body .. ">" or "<" .. body
  for i = 1, columns do
    if i == left then
      line[#line + 1] = "|" .. body
    elseif i < left or i >= right then                           -- the others are crossed by the arrow
      line[#line + 1] = "|" .. (i < columns and (" "):rep(WIDTH - 1) or "")
    end
  end
  return table.concat(line)
end

-- What was said beside the messages: decisions and the log.
local function remark(event)
  if event.verb then return ("%s:%d: %s(%s)"):format(event.file:match "[^/]*$", event.line, event.verb, event.text) end
  return ("log %s: %s"):format(event.level, event.text)
end

local function merge(plan)
  local all = {}
  for i, entry in ipairs(plan:messages()) do all[i] = entry end
  for _, event in ipairs(plan:events()) do all[#all + 1] = event end
  for i, entry in ipairs(all) do entry.order = i end
  table.sort(all, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    if (a.message == nil) ~= (b.message == nil) then return a.message ~= nil end
    return a.order < b.order
  end)
  return all
end

local function parties_of(plan)
  local names, column = {}, {}
  local function add(name)
    if not column[name] then
      names[#names + 1] = name
      column[name] = #names
    end
  end
  for i, party in ipairs(plan.parties) do
    if i == 2 then add "siphook" end
    add(party.name)
  end
  add "siphook"
  return names, column
end

-- The whole as text, a line each.
function ladder.draw(plan)
  local names, column = parties_of(plan)
  local lines, first = {}, plan.started
  local as_list = #names > COLUMNS
  local function put(at, text) lines[#lines + 1] = ("%9.3f  %s"):format((at - first) / 1e6, text):gsub("%s+$", "") end
  if not as_list then
    local head = {}
    for i, name in ipairs(names) do head[i] = name:sub(1, WIDTH - 2) .. (" "):rep(WIDTH - #name:sub(1, WIDTH - 2)) end
    lines[1] = (" "):rep(11) .. table.concat(head):gsub("%s+$", "")
  end
  local middle = (column.siphook - 1) * WIDTH
  for _, entry in ipairs(merge(plan)) do
    if entry.message then
      local party = entry.phone.name
      local from, to = entry.sent and party or "siphook", entry.sent and "siphook" or party
      local text = label_of(entry.message, entry.again)
      if as_list then
        put(entry.at, ("%s -> %s: %s"):format(from, to, text))
      else
        put(entry.at, arrow(column[from], column[to], #names, text))
      end
    elseif as_list then
      put(entry.at, "    " .. remark(entry))
    else
      local bars = ""
      for _ = 1, column.siphook do bars = bars .. "|" .. (" "):rep(WIDTH - 1) end
      put(entry.at, bars:sub(1, middle + 1) .. " " .. remark(entry))
    end
  end
  return lines
end

native.ladder = ladder
