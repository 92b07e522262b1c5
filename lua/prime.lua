-- Starts a campaign that was never started: ARGV: epoch, dry run (0/1), frontiers...
-- Returns {1} primed, {0} it was already.
if redis.call('HGET', META, 'state') ~= 'created' then return { 0 } end
redis.call('HSET', META, 'state', 'running', 'dry_run', ARGV[2], 'started', now_ms(), 'found_before', 0)
for i = 3, #ARGV do add_frontier(ARGV[i]) end
return { 1 }
