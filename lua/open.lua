-- A leader takes its freshly started server. ARGV: 0, campaign id, epoch, prime (1: the first leader ever), host
-- Returns: state, or an error when the data is not this campaign's.
open_gate()
local id = redis.call('HGET', META, 'id')
if not id then
  if ARGV[4] ~= '1' then
    return redis.error_reply('EMPTY the loaded data holds no campaign')
  end
  redis.call('HSET', META, 'id', ARGV[2], 'state', 'created', 'round', 0)
  redis.call('XGROUP', 'CREATE', stream('scan'), GROUP, '0', 'MKSTREAM')
  redis.call('XGROUP', 'CREATE', stream('move'), GROUP, '0', 'MKSTREAM')
elseif id ~= ARGV[2] then
  return redis.error_reply('FOREIGN the loaded data is of campaign ' .. id)
end
redis.call('HSET', META, 'epoch', ARGV[3], 'leader', ARGV[5], 'scan_hold', 0)
-- Idle times and due times were told by another machine's clock, or by this one before it slept.
for _, kind in ipairs({ 'scan', 'move' }) do
  local from = '-'
  while true do
    local page = redis.call('XPENDING', stream(kind), GROUP, from, '+', 500)
    for _, e in ipairs(page) do
      redis.call('XCLAIM', stream(kind), GROUP, e[2], 0, e[1], 'JUSTID')
    end
    if #page < 500 then break end
    from = '(' .. page[#page][1]
  end
end
local now = now_ms()
local shift = now - tonumber(redis.call('HGET', META, 'clock') or now)
if shift ~= 0 then
  for _, class in ipairs({ 'busy', 'changed' }) do
    for _, m in ipairs(redis.call('ZRANGEBYSCORE', left(class), '-inf', '(inf')) do
      redis.call('ZINCRBY', left(class), shift, m)
    end
  end
end
redis.call('HSET', META, 'clock', now)
redis.call('DEL', WORKERS, BEATS)
return { redis.call('HGET', META, 'state') }
