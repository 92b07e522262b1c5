-- The leader of a clone asks whether its stage is over, and begins the next one.
-- ARGV: epoch, the stage that the leader believes in (0 is the first), bound of deletions ('' none, '100', '5%'), number of stages, names...,
-- the job that a scanning stage begins with, for each ('' for links and again).
-- Returns {0} work is left; {1, stage} another one began; {3, state} it is over; {4} the stage is another one, ask again.
open_gate()
if redis.call('HGET', META, 'state') ~= 'running' then return { 0 } end
local l = redis.call('HMGET', LEDGER, 'scan_pending', 'scan_active', 'pending', 'in_progress')
for i = 1, 4 do
  if tonumber(l[i] or 0) ~= 0 then return { 0 } end
end
local stage, n = tonumber(redis.call('HGET', META, 'stage') or 0), tonumber(ARGV[4])
if stage ~= tonumber(ARGV[2]) then return { 4 } end
local function finish(final, reason)
  redis.call('HSET', META, 'state', final, 'finished', now_ms(), 'stage', stage)
  if reason then redis.call('HSET', META, 'reason', reason) end
  return { 3, final }
end
-- It was over, and its leftovers have been tried again: what they were is found again by the walks, but for files that a dead worker, or
-- one whose sync failed, may have made: they look as if they were done.
if redis.call('HGET', META, 'anew') == '1' then
  for _, class in ipairs(CLASSES) do
    local all = redis.call('ZRANGE', left(class), 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do
      local number, files, again = string.match(all[i], '^(%d+):(%d+):%d+:(%d)$')
      if again == '0' then
        redis.call('HDEL', LEFT, number)
        redis.call('ZREM', left(class), all[i])
        ledger(class, -tonumber(files))
        ledger('discovered', -tonumber(files))
        if all[i + 1] ~= 'inf' then ledger('scheduled', -tonumber(files)) end
      end
    end
  end
  redis.call('DEL', LINKS, HELD, PARTS, ERRORS)
  redis.call('HDEL', LEDGER, 'scan_errors', 'differences', 'unchanged', 'filtered', 'would_delete', 'target_entries')
  redis.call('HDEL', META, 'anew', 'turns', 'ending')
  redis.call('HSET', META, 'stage', 0)
  add_frontier(ARGV[5 + n])
  return { 1, 0 }
end
local dry = redis.call('HGET', META, 'dry_run') == '1'
if ARGV[5 + stage] == 'look' and ARGV[3] ~= '' then
  local would = tonumber(redis.call('HGET', LEDGER, 'would_delete') or 0)
  local bound, percent = string.match(ARGV[3], '^(%d+)(%%?)$')
  local most = tonumber(bound)
  if percent == '%' then most = math.floor(tonumber(redis.call('HGET', LEDGER, 'target_entries') or 0) * most / 100) end
  redis.call('HSET', META, 'delete_bound', most)
  -- What could not be read may hold more.
  if would > most then
    return finish('failed', would .. ' entries would be deleted, more than --max-delete ' .. ARGV[3] .. ': nothing was deleted')
  end
end
-- Once for the files, once more for the names of their links.
local turns = tonumber(redis.call('HGET', META, 'turns') or 0)
if ARGV[5 + stage] == 'again' and turns < 2 and not dry then
  redis.call('HSET', META, 'turns', turns + 1)
  if requeue_all('changed') > 0 then return { 1, stage } end
end
while stage + 1 < n do
  stage = stage + 1
  redis.call('HSET', META, 'stage', stage)
  -- What is copied from here on would change the times of its directory.
  if ARGV[5 + stage] == 'dirtimes' then redis.call('HSET', META, 'ending', 1) end
  if ARGV[5 + stage] == 'links' then
    local held = redis.call('LRANGE', HELD, 0, -1)
    if #held > 0 then
      for _, text in ipairs(held) do
        local files, bytes, at = string.match(text, '^(%d+) (%d+) ()')
        add_chunk(files, bytes, string.sub(text, at), 0, 0)
        ledger('discovered', tonumber(files))
        ledger('linked', tonumber(files))
      end
      redis.call('DEL', HELD)
      return { 1, stage }
    end
  elseif ARGV[5 + stage] == 'again' then
    redis.call('HSET', META, 'turns', 1)
    if not dry and requeue_all('changed') > 0 then return { 1, stage } end
  else
    add_frontier(ARGV[5 + n + stage])
    return { 1, stage }
  end
end
if dry then return finish('dry_run_completed') end
local rest = 0
for _, f in ipairs({ 'busy', 'changed', 'refused', 'no_space', 'failed', 'scan_errors', 'differences' }) do
  rest = rest + tonumber(redis.call('HGET', LEDGER, f) or 0)
end
return finish(rest > 0 and 'completed_with_leftovers' or 'completed')
