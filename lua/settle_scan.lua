-- What a scanner found, and where it goes on. ARGV: epoch, consumer, id, deliveries, sequence number,
-- last (1: the job is done), progress, entries, directories, new (1: found files are only reported),
-- candidates of the list: looked at, on the sources, gone, excluded, below the scan paths,
-- number of files that appeared during the campaign, (FID, sources that it is on: "0,3")...,
-- number of things that name a source without an object on it, texts..., number of errors, errors..., number of chunks, (files, bytes, payload)...,
-- number of counts, (name, by)..., number of chunks held for the links of a clone, (files, bytes, payload)...,
-- number of files in parts, (key, parts, the chunk that ends it)..., frontiers...
-- Returns {1, scan jobs pending, files pending, hungry scanners, state} or {0}: the claim is lost.
local who, id = ARGV[2], ARGV[3]
if not stands('scan', id, who, ARGV[4]) then return { 0 } end
local key = progress('scan')
local seq = tonumber(ARGV[5])
local at_seq = tonumber(redis.call('HGET', key, id .. ':seq') or 0)
-- A server that took over from another may have lost the settle before this one: then all since is found again.
if seq > at_seq + 1 then return { 0 } end
if seq > at_seq then
  local first_new = 17
  local after_new = first_new + 2 * tonumber(ARGV[16])
  local n_residue = tonumber(ARGV[after_new])
  local at = after_new + n_residue + 1
  local n_errors = tonumber(ARGV[at])
  -- A settle that queues files may be refused when memory is full; one that only frees must not be.
  if ARGV[at + n_errors + 1] == '0' then open_gate() end
  for i = 1, n_errors do
    redis.call('RPUSH', ERRORS, ARGV[at + i])
    redis.call('LTRIM', ERRORS, 0, 999)
  end
  for i = after_new + 1, after_new + n_residue do
    redis.call('RPUSH', RESIDUE, ARGV[i])
    redis.call('LTRIM', RESIDUE, 0, 999)
  end
  ledger('residue', n_residue)
  for i = first_new, after_new - 2, 2 do
    -- A file may be met under two names, or again when it was renamed. Beyond a hundred thousand that is not looked at.
    local fid, first = ARGV[i], nil
    if redis.call('SCARD', NEWFIDS) < 100000 then
      first = redis.call('SADD', NEWFIDS, fid) == 1
    else
      first = redis.call('SISMEMBER', NEWFIDS, fid) == 0
    end
    if first then
      for ost in string.gmatch(ARGV[i + 1], '%d+') do redis.call('HINCRBY', OSTS, 'new:' .. ost, 1) end
    end
  end
  ledger('scan_errors', n_errors)
  at = at + n_errors + 1
  local n_chunks = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, n_chunks do
    local n, bytes, payload = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    if ARGV[10] == '1' then
      -- Beyond a hundred thousand they are counted, not listed.
      if tonumber(redis.call('HGET', LEDGER, 'new') or 0) < 100000 then
        local number = redis.call('HINCRBY', META, 'next_left', 1)
        redis.call('HSET', LEFT, number, payload)
        redis.call('ZADD', left('new'), 'inf', number .. ':' .. n .. ':0:0')
      end
      ledger('new', tonumber(n))
    else
      add_chunk(n, bytes, payload, 0, 0)
      ledger('discovered', tonumber(n))
      ledger('bytes_discovered', tonumber(bytes))
      redis.call('HINCRBY', META, 'found', n)
    end
    at = at + 3
  end
  for _ = 1, tonumber(ARGV[at]) do
    ledger(ARGV[at + 1], tonumber(ARGV[at + 2]))
    at = at + 2
  end
  -- The look before may have been overtaken by what happened to the source since.
  local bound = tonumber(redis.call('HGET', META, 'delete_bound'))
  local deleted = bound and tonumber(redis.call('HGET', LEDGER, 'deleted') or 0)
  if bound and deleted > bound and redis.call('HGET', META, 'state') == 'running' then
    redis.call('HSET', META, 'state', 'paused', 'reason', deleted .. ' entries were deleted, more than --max-delete: look before you resume')
  end
  at = at + 1
  for _ = 1, tonumber(ARGV[at]) do
    redis.call('RPUSH', HELD, ARGV[at + 1] .. ' ' .. ARGV[at + 2] .. ' ' .. ARGV[at + 3])
    at = at + 3
  end
  at = at + 1
  for _ = 1, tonumber(ARGV[at]) do
    redis.call('HSET', PARTS, ARGV[at + 1], ARGV[at + 2], ARGV[at + 1] .. ':end', ARGV[at + 3])
    at = at + 3
  end
  for i = at + 1, #ARGV do add_frontier(ARGV[i]) end
  ledger('entries', tonumber(ARGV[8]))
  ledger('directories', tonumber(ARGV[9]))
  for i, name in ipairs({ 'listed', 'listed_on_sources', 'listed_gone', 'listed_excluded', 'listed_below_paths' }) do
    ledger(name, tonumber(ARGV[10 + i]))
  end
  if ARGV[6] == '1' then
    redis.call('XACK', stream('scan'), GROUP, id)
    redis.call('XDEL', stream('scan'), id)
    redis.call('HDEL', key, id, id .. ':seq')
    ledger('scan_active', -1)
  else
    redis.call('HSET', key, id, ARGV[7], id .. ':seq', seq)
  end
end
local l = redis.call('HMGET', LEDGER, 'scan_pending', 'pending', 'scan_active', 'in_progress')
local pending = tonumber(l[1] or 0)
local hungry = 0
if pending == 0 and now_ms() - tonumber(redis.call('HGET', META, 'hungry:scan') or 0) < 1000 then hungry = 1 end
local drained = pending + tonumber(l[2] or 0) + tonumber(l[3] or 0) + tonumber(l[4] or 0) == 0 and 1 or 0
return { 1, pending, tonumber(l[2] or 0), hungry, redis.call('HGET', META, 'state'), drained }
