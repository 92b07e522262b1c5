-- Begins a campaign anew: all counts and jobs go, the scan paths and the list come back. ARGV: epoch, campaign id, frontiers...
-- Claims that are held now are refused at their next settle. Returns {1}.
open_gate()
wipe()
make_queues()
redis.call('HDEL', META, 'reason', 'rescan', 'verified', 'aside', 'finished', 'hungry:scan', 'hungry:move', 'rates', 'stage', 'turns', 'anew', 'ending')
redis.call('HSET', META, 'id', ARGV[2], 'round', 0, 'found', 0)
local state = redis.call('HGET', META, 'state')
if not state then
  redis.call('HSET', META, 'state', 'created') -- the next leader primes it
elseif state ~= 'created' then
  redis.call('HSET', META, 'state', state == 'paused' and state or 'running', 'started', now_ms())
  for i = 3, #ARGV do add_frontier(ARGV[i]) end
end
return { 1 }
