-- Returns stale claims to the queue: idle for longer than the time-out, or of a process that is known to
-- be dead. ARGV: epoch, time-out in ms, dead processes...
-- Returns {how many, processes that hold claims or are said to live...}.
open_gate()
local n, names = 0, {}
for _, kind in ipairs({ 'scan', 'move' }) do
  local from = '-'
  while true do
    local page = redis.call('XPENDING', stream(kind), GROUP, from, '+', 500)
    for _, e in ipairs(page) do
      local process = string.match(e[2], '^([^/]*)/')
      local stale = e[3] > tonumber(ARGV[2])
      for i = 3, #ARGV do
        stale = stale or process == ARGV[i]
      end
      if stale and e[2] ~= FREE then
        give_back(kind, e[1], true)
        n = n + 1
      elseif process then
        names[process] = 1
      end
    end
    if #page < 500 then break end
    from = '(' .. page[#page][1]
  end
  -- A dead process's consumers hold nothing now, and are forgotten.
  if #ARGV > 2 then
    for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', stream(kind), GROUP)) do
      for i = 3, #ARGV do
        if string.sub(c[2], 1, #ARGV[i] + 1) == ARGV[i] .. '/' and c[4] == 0 then
          redis.call('XGROUP', 'DELCONSUMER', stream(kind), GROUP, c[2])
        end
      end
    end
  end
end
local silent = redis.call('ZRANGEBYSCORE', BEATS, '-inf', now_ms() - math.max(10000, tonumber(ARGV[2])))
for i = 3, #ARGV do silent[#silent + 1] = ARGV[i] end
for _, p in ipairs(silent) do
  redis.call('ZREM', BEATS, p)
  redis.call('HDEL', WORKERS, p)
  redis.call('HDEL', FLIGHT, p)
end
for _, p in ipairs(redis.call('ZRANGE', BEATS, 0, -1)) do names[p] = 1 end
local r = { n }
for name in pairs(names) do r[#r + 1] = name end
return r
