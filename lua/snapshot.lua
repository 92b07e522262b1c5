-- All that status shows, at one instant. ARGV: epoch
-- Returns {meta, ledger, osts, reasons, workers, retries scheduled, ms until the first, memory used, memory bound, errors, now, residue}.
local due
for _, class in ipairs({ 'busy', 'changed' }) do
  local first = redis.call('ZRANGEBYSCORE', left(class), '-inf', '(inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then due = math.min(due or tonumber(first[2]), tonumber(first[2])) end
end
local info = redis.call('INFO', 'memory')
return {
  redis.call('HGETALL', META), redis.call('HGETALL', LEDGER), redis.call('HGETALL', OSTS),
  redis.call('HGETALL', REASONS), redis.call('HGETALL', WORKERS),
  tonumber(redis.call('HGET', LEDGER, 'scheduled') or 0), due and math.max(0, due - now_ms()) or -1,
  tonumber(string.match(info, 'used_memory:(%d+)')), tonumber(string.match(info, 'maxmemory:(%d+)')),
  redis.call('LRANGE', ERRORS, 0, 99), now_ms(), redis.call('LRANGE', RESIDUE, 0, 99),
}
