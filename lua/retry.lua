-- Leftovers go back into the move queue. ARGV: epoch, mode (due: whose time has come; all), reopen (1: also when
-- the campaign is over), limit (chunks), classes...
-- Returns {files, 1 if more is there}, or {-1} when the campaign is over.
open_gate() -- what comes back takes no more room than what it replaces
local state = redis.call('HGET', META, 'state')
local live = state == 'running' or state == 'paused'
if not live and not (ARGV[3] == '1' and state ~= 'created') then return { -1 } end
if ARGV[2] == 'due' and state ~= 'running' then return { 0, 0 } end
local ending = redis.call('HEXISTS', META, 'ending') == 1
if ARGV[2] == 'due' and ending then return { 0, 0 } end
local limit, files, more = tonumber(ARGV[4]), 0, 0
local now = now_ms()
for i = 5, #ARGV do
  local class = ARGV[i]
  local page = redis.call('ZRANGEBYSCORE', left(class), '-inf', ARGV[2] == 'due' and now or '+inf', 'WITHSCORES', 'LIMIT', 0,
    limit + 1)
  for k = 1, #page, 2 do
    if k > 2 * limit then
      more = 1
      break
    end
    files = files + requeue(class, page[k], page[k + 1], ARGV[2] ~= 'due' and 0 or nil)
  end
  if ARGV[2] == 'all' and class == 'failed' then
    redis.call('HDEL', META, 'aside')
    for _, f in ipairs(redis.call('HKEYS', OSTS)) do
      if string.sub(f, 1, 4) == 'row:' then redis.call('HDEL', OSTS, f) end
    end
  end
end
-- What was only seen, or could not be read, is looked for again by a campaign that is reopened.
local unseen = 0
if not live then
  for _, f in ipairs({ 'new', 'scan_errors', 'differences' }) do unseen = unseen + tonumber(redis.call('HGET', LEDGER, f) or 0) end
end
if not live and files + unseen > 0 then
  redis.call('HSET', META, 'state', 'running', 'round', 0)
  redis.call('HDEL', META, 'finished', 'verified', 'reason')
  -- A clone goes through its stages once more, for what its leftovers have changed: links, times of directories.
  if redis.call('HEXISTS', META, 'stage') == 1 then redis.call('HSET', META, 'anew', 1) end
elseif ending and files > 0 then
  redis.call('HSET', META, 'anew', 1)
end
return { files, more }
