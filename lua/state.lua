-- Pause, resume, or give a campaign up. ARGV: epoch, verb (pause, resume, fail), reason
-- Returns {1}, {0} it is so already, {-1} the campaign is over.
open_gate()
local state = redis.call('HGET', META, 'state')
local want = ({ pause = 'paused', resume = 'running', fail = 'failed' })[ARGV[2]]
if state == want then return { 0 } end
if state ~= 'running' and state ~= 'paused' then return { -1 } end
redis.call('HSET', META, 'state', want)
if want == 'running' then
  redis.call('HDEL', META, 'reason')
else
  redis.call('HSET', META, 'reason', ARGV[3])
end
if want == 'failed' then redis.call('HSET', META, 'finished', now_ms()) end
return { 1 }
