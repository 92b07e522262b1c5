-- A new campaign on an external server. ARGV: 0, campaign id, name, spec (JSON)
-- Returns {1}, or {0}: there is another one of this name.
local id = redis.call('HGET', META, 'id')
if id and id ~= ARGV[2] then return { 0 } end
if not id then
  redis.call('HSET', META, 'id', ARGV[2], 'state', 'created', 'round', 0, 'spec', ARGV[4])
  make_queues()
  redis.call('SADD', CAMPAIGNS, ARGV[3])
end
return { 1 }
