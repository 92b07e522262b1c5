-- A process says that it lives. ARGV: epoch, process, its record (JSON; '': it leaves)
-- Returns {state, round, OSTs set aside}.
open_gate()
local now = now_ms()
if ARGV[3] == '' then
  redis.call('HDEL', WORKERS, ARGV[2])
  redis.call('ZREM', BEATS, ARGV[2])
else
  redis.call('HSET', WORKERS, ARGV[2], ARGV[3])
  redis.call('ZADD', BEATS, now, ARGV[2])
end
redis.call('HSET', META, 'clock', now)
local m = redis.call('HMGET', META, 'state', 'round', 'aside', 'dry_run')
return { m[1] or '', tonumber(m[2] or 0), m[3] or '', m[4] or '0' }
