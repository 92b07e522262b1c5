-- Removes a campaign from an external server. ARGV: 0, campaign id, name
-- Returns {1}, or {0, host}: it is being worked on.
open_gate()
local id = redis.call('HGET', META, 'id')
if id and id ~= ARGV[2] then return { 1 } end
redis.call('ZREMRANGEBYSCORE', BEATS, '-inf', now_ms() - 10000)
if redis.call('EXISTS', LEADER) == 1 or redis.call('ZCARD', BEATS) > 0 then
  return { 0, redis.call('HGET', META, 'leader') or '' }
end
wipe()
redis.call('UNLINK', META, WORKERS, BEATS, FLIGHT)
redis.call('SREM', CAMPAIGNS, ARGV[3])
return { 1 }
