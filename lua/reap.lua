-- Returns stale claims to the queue: idle for longer than the time-out, or of a process that is known to
-- be dead. ARGV: epoch, time-out in ms, dead processes (prefixes of consumers)...
-- Returns {how many, processes that hold claims...}.
open_gate()
local n = 0
local holders = {}
for _, kind in ipairs({ 'scan', 'move' }) do
  local from = '-'
  while true do
    local page = redis.call('XPENDING', stream(kind), GROUP, from, '+', 500)
    for _, e in ipairs(page) do
      local stale = e[3] > tonumber(ARGV[2])
      for i = 3, #ARGV do
        stale = stale or string.sub(e[2], 1, #ARGV[i]) == ARGV[i]
      end
      if stale and e[2] ~= FREE then
        give_back(kind, e[1])
        n = n + 1
      elseif e[2] ~= FREE then
        holders[string.match(e[2], '^[^/]*/')] = 1
      end
    end
    if #page < 500 then break end
    from = '(' .. page[#page][1]
  end
end
-- Consumers without a claim, of processes that beat no more, are forgotten.
local dead = redis.call('ZRANGEBYSCORE', BEATS, '-inf', now_ms() - 10 * tonumber(ARGV[2]))
for i = 3, #ARGV do dead[#dead + 1] = ARGV[i] end
for _, p in ipairs(dead) do
  redis.call('ZREM', BEATS, p)
  redis.call('HDEL', WORKERS, p)
end
local r = { n }
for name in pairs(holders) do r[#r + 1] = name end
return r
