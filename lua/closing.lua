-- The closing of the sources to new objects. ARGV: epoch, verb, and by the verb:
-- begin, sources, epoch: the leader of that epoch is about to run close_command. Returns {1, sources that it is to be run
-- for}, or {0}: not now, or another leads
-- ran, source, 1 or 0 (it succeeded), what it came to (two lines): one has ended. Returns {1}, or {0}: the campaign began anew meanwhile
-- end: all have ended. Returns {1}
-- shows, (source, 1 or 0)...: whether the state of an OST shows that it is closed. Returns {1}
-- open, sources, ms: they are about to be opened by command, which takes no longer than that. Returns {1}, or {0, why}
-- opened: that is over. Returns {1}
-- forget, sources: they were opened by command while there was no server. Returns {1}
-- Sources are a list: "0,1,5".
open_gate()
local verb, now = ARGV[2], now_ms()
local m = redis.call('HMGET', META, 'state', 'dry_run', 'epoch', 'round')

local function forget()
  for ost in string.gmatch(ARGV[3], '%d+') do
    redis.call('HDEL', OSTS, 'close:' .. ost, 'shows:' .. ost)
    redis.call('HSET', OSTS, 'opened:' .. ost, now)
  end
end

if verb == 'begin' then
  local opening = tonumber(redis.call('HGET', OSTS, 'opening') or 0)
  if ARGV[4] ~= ARGV[1] or m[1] ~= 'running' or m[2] == '1' or opening > now then return { 0 } end
  local todo = {}
  for ost in string.gmatch(ARGV[3], '%d+') do
    if is_open(ost) then todo[#todo + 1] = ost end
  end
  if #todo > 0 then redis.call('HSET', OSTS, 'closing', ARGV[1]) end
  return { 1, table.concat(todo, ',') }
elseif verb == 'ran' then
  if redis.call('HGET', OSTS, 'closing') ~= ARGV[1] then return { 0 } end
  redis.call('HSET', OSTS, 'close:' .. ARGV[3], ARGV[4] .. ' ' .. ARGV[1] .. ' ' .. now .. '\n' .. ARGV[5])
  redis.call('HDEL', OSTS, 'opened:' .. ARGV[3])
  -- A later leader succeeded where an earlier one had failed: the scans since then saw an open OST.
  if ARGV[4] == '1' and tonumber(m[4] or 0) > 0 then redis.call('HSET', META, 'rescan', 1) end
elseif verb == 'end' then
  if redis.call('HGET', OSTS, 'closing') == ARGV[1] then redis.call('HDEL', OSTS, 'closing') end
elseif verb == 'shows' then
  for i = 3, #ARGV, 2 do redis.call('HSET', OSTS, 'shows:' .. ARGV[i], ARGV[i + 1]) end
elseif verb == 'open' then
  if m[1] == 'running' then return { 0, 'running' } end
  -- A leader that died has left this behind; on a server of the site's own its leadership has expired then.
  local leads = redis.call('HEXISTS', META, 'spec') == 0 or redis.call('EXISTS', LEADER) == 1
  if leads and m[3] and redis.call('HGET', OSTS, 'closing') == m[3] then return { 0, 'closing' } end
  forget()
  redis.call('HSET', OSTS, 'opening', now + tonumber(ARGV[4]))
elseif verb == 'opened' then
  redis.call('HDEL', OSTS, 'opening')
elseif verb == 'forget' then
  forget()
end
return { 1 }
