-- A process says that it lives. ARGV: epoch, process, its record (JSON; '': it leaves), what it has on its way ("OST:bytes,...")
-- Returns {state, round, OSTs set aside, dry run, what all have on their way as it was added up last, the number of that sum}.
open_gate()
local now = now_ms()
if ARGV[3] == '' then
  redis.call('HDEL', WORKERS, ARGV[2])
  redis.call('HDEL', FLIGHT, ARGV[2])
  redis.call('ZREM', BEATS, ARGV[2])
else
  redis.call('HSET', WORKERS, ARGV[2], ARGV[3])
  if ARGV[4] == '' or #ARGV[4] > 4096 then
    redis.call('HDEL', FLIGHT, ARGV[2])
  else
    redis.call('HSET', FLIGHT, ARGV[2], ARGV[4])
  end
  redis.call('ZADD', BEATS, now, ARGV[2])
end
redis.call('HSET', META, 'clock', now)
local m = redis.call('HMGET', META, 'state', 'round', 'aside', 'dry_run', 'flight', 'flight_sums')
return { m[1] or '', tonumber(m[2] or 0), m[3] or '', m[4] or '0', m[5] or '', tonumber(m[6] or 0) }
