-- The leader asks whether the campaign is over, or a new scan is due. Looks at scan, move and retries together.
-- ARGV: epoch, number of rounds at most, the round that the leader believes in, sources that close_command is run for ("0,1,5"),
-- frontiers for the next round...
-- Returns {0} work is left; {1, round} a new round began; {2, ms until the next retry}; {3, state} it is over;
-- {4} the round is another one, ask again.
open_gate()
local state = redis.call('HGET', META, 'state')
if state ~= 'running' then return { 0 } end
local l = redis.call('HMGET', LEDGER, 'scan_pending', 'scan_active', 'pending', 'in_progress')
for i = 1, 4 do
  if tonumber(l[i] or 0) ~= 0 then return { 0 } end
end
local m = redis.call('HMGET', META, 'round', 'found', 'dry_run', 'verified', 'rescan')
local round, found = tonumber(m[1] or 0), tonumber(m[2] or 0)
local function finish(final)
  redis.call('HSET', META, 'state', final, 'finished', now_ms())
  return { 3, final }
end
if m[3] == '1' then return finish('dry_run_completed') end
-- The scans that prove emptiness come after the closing of every source was tried.
if ARGV[4] ~= '' and redis.call('HGET', OSTS, 'closing') == ARGV[1] then return { 0 } end
for ost in string.gmatch(ARGV[4], '%d+') do
  if is_open(ost) then return { 0 } end
end
local last = tonumber(ARGV[2])
if not m[4] or m[5] then
  if round == 0 or m[5] or (found > 0 and round < last) then
    if round ~= tonumber(ARGV[3]) then return { 4 } end
    round = round + 1
    redis.call('HSET', META, 'round', round, 'found', 0)
    redis.call('HDEL', META, 'rescan', 'verified')
    redis.call('HDEL', LEDGER, 'scan_errors', 'new', 'residue')
    for _, e in ipairs(redis.call('ZRANGE', left('new'), 0, -1)) do
      redis.call('HDEL', LEFT, (string.match(e, '^%d+')))
    end
    redis.call('DEL', DONEFIDS, ERRORS, RESIDUE, left('new'))
    for i = 5, #ARGV do add_frontier(ARGV[i]) end
    return { 1, round }
  end
  redis.call('HSET', META, 'verified', 1)
end
local due
for _, class in ipairs({ 'busy', 'changed' }) do
  local first = redis.call('ZRANGEBYSCORE', left(class), '-inf', '(inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then due = math.min(due or tonumber(first[2]), tonumber(first[2])) end
end
if due then return { 2, math.max(0, due - now_ms()) } end
local rest = 0
for _, f in ipairs({ 'busy', 'changed', 'refused', 'no_space', 'failed', 'new', 'scan_errors' }) do
  rest = rest + tonumber(redis.call('HGET', LEDGER, f) or 0)
end
return finish(rest > 0 and 'completed_with_leftovers' or 'completed')
