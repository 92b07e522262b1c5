-- What became of files [from, to) of a chunk. ARGV: epoch, consumer, id, deliveries, from, to, last (0/1),
-- succeeded, unneeded, gone, busy, changed, refused, no_space, failed, bytes moved, bytes done,
-- bound of leftovers, number of OSTs, (ost, files, bytes, failures after the last success, any success)...,
-- number of reasons, (reason, files)..., number of leftover chunks, (class, files, due in ms or -1, attempt, payload)...,
-- number of leftover FIDs, FIDs..., number of FIDs resolved, FIDs..., number of FIDs that are gone, FIDs...,
-- attempt, again, number of chunks that the rest of the files is handed back in (only with last), (files, bytes, payload)...,
-- number of parts of huge files that are done, keys...
-- Returns {1, state, drained (1: nothing is pending or in progress), OSTs set aside, 1: other movers are idle} or {0}: the
-- claim is lost.
open_gate()
local who, id = ARGV[2], ARGV[3]
if not stands('move', id, who, ARGV[4]) then return { 0 } end
local key = progress('move')
local from, to = tonumber(ARGV[5]), tonumber(ARGV[6])
local at = tonumber(redis.call('HGET', key, id) or 0)
if at == from and not (at == to and ARGV[7] == '0') then
  local names = { 'succeeded', 'unneeded', 'gone', 'busy', 'changed', 'refused', 'no_space', 'failed',
    'bytes_succeeded', 'bytes_done' }
  for i, name in ipairs(names) do ledger(name, tonumber(ARGV[7 + i])) end
  ledger('in_progress', from - to)
  local a = 19
  for _ = 1, tonumber(ARGV[a]) do
    local ost, files, bytes, row, any = unpack(ARGV, a + 1, a + 5)
    if files ~= '0' then
      redis.call('HINCRBY', OSTS, 'files:' .. ost, files)
      redis.call('HINCRBY', OSTS, 'bytes:' .. ost, bytes)
    end
    local in_row = tonumber(row)
    if any == '1' then
      redis.call('HSET', OSTS, 'row:' .. ost, in_row)
    elseif in_row > 0 then
      in_row = redis.call('HINCRBY', OSTS, 'row:' .. ost, in_row)
    end
    if in_row >= 1000 then
      local aside = redis.call('HGET', META, 'aside') or ''
      if not string.find(',' .. aside .. ',', ',' .. ost .. ',', 1, true) then
        redis.call('HSET', META, 'aside', aside == '' and ost or aside .. ',' .. ost)
      end
    end
    a = a + 5
  end
  a = a + 1
  for _ = 1, tonumber(ARGV[a]) do
    redis.call('HINCRBY', REASONS, ARGV[a + 1], ARGV[a + 2])
    a = a + 2
  end
  a = a + 1
  local now = now_ms()
  local n_left = tonumber(ARGV[a])
  -- A holder that was given up may still finish a file that is busy now: then the retry finds it moved.
  local again = n_left > 0 and is_again(id)
  local members = {}
  for _ = 1, n_left do
    local class, n, due, attempt, payload = unpack(ARGV, a + 1, a + 5)
    local number = redis.call('HINCRBY', META, 'next_left', 1)
    redis.call('HSET', LEFT, number, payload)
    if due ~= '-1' then ledger('scheduled', tonumber(n)) end
    members[#members + 1] = { left(class), due == '-1' and 'inf' or now + tonumber(due), number .. ':' .. n .. ':' .. attempt .. ':' }
    a = a + 5
  end
  a = a + 1
  for _ = 1, tonumber(ARGV[a]) do
    redis.call('SADD', LEFTFIDS, ARGV[a + 1])
    a = a + 1
  end
  a = a + 1
  for _ = 1, tonumber(ARGV[a]) do
    if redis.call('SREM', LEFTFIDS, ARGV[a + 1]) == 1 then redis.call('SADD', DONEFIDS, ARGV[a + 1]) end
    a = a + 1
  end
  a = a + 1
  for _ = 1, tonumber(ARGV[a]) do
    -- It may have another name now, which a scan of before took for the leftover: scan once more.
    if redis.call('SREM', LEFTFIDS, ARGV[a + 1]) == 1 then redis.call('HSET', META, 'rescan', 1) end
    a = a + 1
  end
  again = (again or ARGV[a + 2] == '1') and 1 or 0
  for _, m in ipairs(members) do redis.call('ZADD', m[1], m[2], m[3] .. again) end
  for i = a + 4, a + 1 + 3 * tonumber(ARGV[a + 3]), 3 do
    add_chunk(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[a + 1], ARGV[a + 2])
    ledger('in_progress', -tonumber(ARGV[i]))
  end
  local p = a + 4 + 3 * tonumber(ARGV[a + 3])
  for i = p + 1, p + tonumber(ARGV[p]) do
    -- The last part: whoever comes next ends the file.
    if redis.call('HINCRBY', PARTS, ARGV[i], -1) == 0 then
      add_chunk(1, 0, redis.call('HGET', PARTS, ARGV[i] .. ':end'), 0, 0)
      ledger('discovered', 1)
      redis.call('HDEL', PARTS, ARGV[i], ARGV[i] .. ':end')
    end
  end
  if ARGV[7] == '1' then
    redis.call('XACK', stream('move'), GROUP, id)
    redis.call('XDEL', stream('move'), id)
    redis.call('HDEL', key, id, id .. ':again')
  else
    redis.call('HSET', key, id, to)
  end
  if n_left > 0 then
    local sum = 0
    for _, c in ipairs(CLASSES) do sum = sum + tonumber(redis.call('HGET', LEDGER, c) or 0) end
    if sum > tonumber(ARGV[18]) and redis.call('HGET', META, 'state') == 'running' then
      redis.call('HSET', META, 'state', 'paused', 'reason',
        sum .. ' files are left over, more than max_leftovers = ' .. ARGV[18])
    end
  end
elseif at ~= to then
  return { 0 }
end
local l = redis.call('HMGET', LEDGER, 'pending', 'in_progress', 'scan_pending', 'scan_active')
local drained = 0
if tonumber(l[1] or 0) + tonumber(l[2] or 0) + tonumber(l[3] or 0) + tonumber(l[4] or 0) == 0 then drained = 1 end
local m = redis.call('HMGET', META, 'state', 'aside', 'hungry:move')
local hungry = l[1] == '0' and now_ms() - tonumber(m[3] or 0) < 1000 and 1 or 0
return { 1, m[1], drained, m[2] or '', hungry }
