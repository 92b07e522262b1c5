-- The leader's view of speed, for whoever shows it; and whether scanners rest because memory is short.
-- ARGV: epoch, JSON, hold (1, 0, or '': as it is)
open_gate()
redis.call('HSET', META, 'rates', ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', META, 'scan_hold', ARGV[3]) end
return { 1 }
