-- Takes a job. ARGV: epoch, kind, consumer, files pending at which scanners rest
-- Returns {1, id, deliveries, payload, progress, files, attempt, OSTs set aside, settles so far,
-- again (1: a holder may have moved some files without a word)} or {0, why}.
open_gate()
local kind, who = ARGV[2], ARGV[3]
local m = redis.call('HMGET', META, 'state', 'scan_hold', 'aside')
if m[1] ~= 'running' then return { 0, m[1] or 'empty' } end
if kind == 'scan' and (m[2] == '1' or tonumber(redis.call('HGET', LEDGER, 'pending') or 0) >= tonumber(ARGV[4])) then
  return { 0, 'hold' }
end
local s = stream(kind)
local entry
local mine = redis.call('XPENDING', s, GROUP, '-', '+', 1, who)
if mine[1] then
  -- It is the caller's all the same: the reply to an earlier claim was lost, or the caller could not settle it, and may have done some of it.
  if kind == 'move' then redis.call('HSET', progress(kind), mine[1][1] .. ':again', 1) end
  entry = redis.call('XCLAIM', s, GROUP, who, 0, mine[1][1])[1]
else
  local id = redis.call('LPOP', returned(kind))
  if id then
    entry = redis.call('XCLAIM', s, GROUP, who, 0, id)[1]
  else
    local r = redis.call('XREADGROUP', 'GROUP', GROUP, who, 'COUNT', 1, 'STREAMS', s, '>')
    entry = r and r[1] and r[1][2][1]
  end
  if not entry then
    redis.call('HSET', META, 'hungry:' .. kind, now_ms())
    return { 0, 'empty' }
  end
end
local id, f = entry[1], {}
for i = 1, #entry[2], 2 do f[entry[2][i]] = entry[2][i + 1] end
local count = redis.call('XPENDING', s, GROUP, id, id, 1)[1][4]
local done = redis.call('HGET', progress(kind), id) or ''
if not mine[1] then
  if kind == 'move' then
    local n = tonumber(f.n) - (tonumber(done) or 0)
    ledger('pending', -n)
    ledger('in_progress', n)
  else
    ledger('scan_pending', -1)
    ledger('scan_active', 1)
  end
end
local again = kind == 'move' and is_again(id)
local seq = kind == 'scan' and tonumber(redis.call('HGET', progress(kind), id .. ':seq')) or 0
return { 1, id, count, f.p, done, tonumber(f.n or 0), tonumber(f.a or 0), m[3] or '', seq, again and 1 or 0 }
