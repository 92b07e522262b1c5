-- A leader takes its freshly started server. ARGV: 0, campaign id, epoch, prime (1: the first leader ever), host
-- Returns: state, or an error when the data is not this campaign's.
open_gate()
local id = redis.call('HGET', META, 'id')
local last = tonumber(redis.call('HGET', META, 'epoch'))
if not id or (not last and ARGV[4] ~= '1') then
  if ARGV[4] ~= '1' then
    return redis.error_reply('EMPTY the loaded data holds no campaign')
  end
  redis.call('HSET', META, 'id', ARGV[2], 'state', 'created', 'round', 0)
  make_queues()
elseif id ~= ARGV[2] then
  return redis.error_reply('FOREIGN the loaded data is of campaign ' .. id)
elseif last and last >= tonumber(ARGV[3]) then
  return redis.error_reply('FOREIGN the loaded data is of epoch ' .. last .. ', which is not before ' .. ARGV[3])
end
redis.call('HSET', META, 'epoch', ARGV[3], 'leader', ARGV[5], 'scan_hold', 0)
new_clock()
redis.call('DEL', WORKERS, BEATS, FLIGHT)
redis.call('HDEL', META, 'flight')
return { redis.call('HGET', META, 'state') }
