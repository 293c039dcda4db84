-- Decides on limits by the server's clock, in microseconds, and keeps what keys have used.
-- ARGV: take | return | charge; at most so many times the cost | when it was taken; then for each key five:
--   b (bucket):  limit, units gained in a microsecond, units of a permit, cost
--   l (log):     limit, window, 0, cost
--   c (counter): limit, window, grain, cost
-- Numbers stay below 2^53, where doubles count exactly.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function floor(a, b) return (a - a % b) / b end
local function ceil(a, b) return -floor(-a, b) end
local function text(...)
  local parts = {...}
  for i = 1, #parts do parts[i] = string.format('%.0f', parts[i]) end
  return table.concat(parts, ' ')
end
local function numbers(value)
  local found = {}
  for part in string.gmatch(value, '%S+') do found[#found + 1] = tonumber(part) end
  return unpack(found)
end
local function mark(s, place) return numbers(redis.call('HGET', s.key, place)) end

-- What a key has used, brought up to now. A clock that went back stands still.
local function load(i)
  local a = 5 * i - 2
  local s = {key = KEYS[i], kind = ARGV[a], limit = tonumber(ARGV[a + 1]), x = tonumber(ARGV[a + 2]),
             y = tonumber(ARGV[a + 3]), cost = tonumber(ARGV[a + 4])}
  if s.kind == 'l' then
    local held = redis.call('HMGET', s.key, 'n', 'h', 't', 'w')
    s.n, s.h = tonumber(held[1] or 0), tonumber(held[2] or 0)
    s.t, s.w = tonumber(held[3] or 0), math.max(now, tonumber(held[4] or 0))
    while s.h < s.t do
      local when, taken = mark(s, s.h)
      if when > s.w - s.x then break end
      redis.call('HDEL', s.key, s.h)
      s.n, s.h, s.moved = s.n - taken, s.h + 1, true
    end
    s.free = s.limit - s.n
  elseif s.kind == 'b' then
    local held = redis.call('GET', s.key)
    s.level, s.last = s.limit * s.y, now
    if held then
      s.level, s.last = numbers(held)
      if now > s.last then
        s.level = math.min(s.level + (now - s.last) * s.x, s.limit * s.y)
        s.last = now
      end
    end
    s.free = floor(s.level, s.y)
  else
    local held = redis.call('GET', s.key)
    local window = floor(now, s.x)
    s.window, s.before, s.this = window, 0, 0
    if held then
      s.window, s.before, s.this = numbers(held)
      if window > s.window then
        s.before = window == s.window + 1 and s.this or 0
        s.window, s.this = window, 0
      end
    end
    s.finish = (s.window + 1) * s.x
    s.grains = ceil(s.x, s.y)
    s.free = s.limit - s.this - ceil(s.before * ceil(math.min(s.finish - now, s.x), s.y), s.grains)
  end
  return s
end

local function save(s)
  if s.kind == 'l' then
    redis.call('HSET', s.key, 'n', text(s.n), 'h', s.h, 't', s.t, 'w', text(s.w))
    redis.call('PEXPIRE', s.key, text(ceil(s.x, 1000) + 1000))
  elseif s.kind == 'b' then
    redis.call('SET', s.key, text(s.level, s.last), 'PX', text(ceil(s.limit * s.y - s.level, s.x * 1000) + 1000))
  else
    redis.call('SET', s.key, text(s.window, s.before, s.this), 'PX', text(ceil(2 * s.x, 1000) + 1000))
  end
end

local function take(s, cost)
  if s.kind == 'l' then
    if s.t - s.h > 4 * s.limit + 16 then  -- marks of which all was given back
      local kept = {}
      for place = s.h, s.t - 1 do
        local when, taken = mark(s, place)
        if taken > 0 then kept[#kept + 1] = text(when, taken) end
      end
      redis.call('DEL', s.key)
      for place = 1, #kept do redis.call('HSET', s.key, place - 1, kept[place]) end
      s.h, s.t = 0, #kept
    end
    redis.call('HSET', s.key, s.t, text(s.w, cost))
    s.n, s.t = s.n + cost, s.t + 1
  elseif s.kind == 'b' then
    s.level = s.level - cost * s.y
  else
    s.this = s.this + cost
  end
  save(s)
end

-- Microseconds until the cost is free, if nobody takes any.
local function wait(s, cost)
  if s.kind == 'l' then
    local needed, place = s.n + cost - s.limit, s.h
    while true do
      local when, taken = mark(s, place)
      needed, place = needed - taken, place + 1
      if needed <= 0 then return when + s.x - now end
    end
  elseif s.kind == 'b' then
    return ceil(cost * s.y - s.level, s.x) + math.max(s.last - now, 0)
  end
  local before, most, finish = s.before, s.limit - cost - s.this, s.finish
  if most < 0 then  -- only in the next window, in which this one is the one before
    before, most = s.this, s.limit - cost
    if before <= most then return finish - now end
    finish = finish + s.x
  end
  return finish - floor(most * s.grains, before) * s.y - now
end

local function give_back(s, cost, at)
  if s.kind == 'l' then
    local place = s.t - 1
    while cost > 0 and place >= s.h do
      local when, taken = mark(s, place)
      if when <= at and taken > 0 then
        local returned = math.min(taken, cost)
        s.n, cost = s.n - returned, cost - returned
        if returned == taken and place == s.t - 1 then
          redis.call('HDEL', s.key, place)
          s.t = place
        else
          redis.call('HSET', s.key, place, text(when, taken - returned))
        end
      end
      place = place - 1
    end
  elseif s.kind == 'b' then
    s.level = math.min(s.level + math.min(cost, 2 * s.limit) * s.y, s.limit * s.y)
  else
    local window = floor(at, s.x)
    if window >= s.window then
      s.this = math.max(s.this - cost, 0)
    elseif window == s.window - 1 then
      s.before = math.max(s.before - cost, 0)
    end
  end
  save(s)
end

if ARGV[1] == 'take' then
  local states, times = {}, tonumber(ARGV[2])
  local refused, longest, tightest
  for i = 1, #KEYS do
    local s = load(i)
    states[i] = s
    if s.cost > s.free then
      local needed = s.cost > s.limit and math.huge or wait(s, s.cost)
      if not refused or needed > longest then refused, longest = i, needed end
      if s.moved then save(s) end
    elseif s.cost > 0 then
      times = math.min(times, floor(s.free, s.cost))
    end
  end
  if refused then
    for i = 1, #KEYS do
      if states[i].moved then save(states[i]) end
    end
    return {0, refused - 1, math.max(states[refused].free, 0), longest == math.huge and -1 or longest, now, 0}
  end
  for i = 1, #KEYS do
    local s = states[i]
    s.left = s.free - times * s.cost
    if not tightest or s.left < states[tightest].left then tightest = i end
    if s.cost > 0 then take(s, times * s.cost) elseif s.moved then save(s) end
  end
  return {1, tightest - 1, states[tightest].left, 0, now, times}
end

for i = 1, #KEYS do
  if ARGV[1] == 'charge' then
    local s = load(i)
    local cost = math.min(s.cost, s.free + s.limit)
    if cost > 0 then take(s, cost) elseif s.moved then save(s) end
  elseif redis.call('EXISTS', KEYS[i]) == 1 then
    local s = load(i)
    give_back(s, s.cost, ARGV[2] == '' and now or tonumber(ARGV[2]))
  end
end
return {}
