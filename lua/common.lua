-- Every script begins with this. KEYS[1] is the prefix of the campaign's keys, ARGV[1] the epoch of
-- the connection. All key names of drover stand here and nowhere else.
local P = KEYS[1]
local META = P .. 'meta'         -- hash: id epoch state reason phase round dry_run ... of the campaign
local LEADER = P .. 'leader'     -- string that expires: who leads (external servers; embedded ones have a lock)
local CAMPAIGNS = 'drover:campaigns' -- set: names of the campaigns of an external server
local LEDGER = P .. 'ledger'     -- hash: the counts
local OSTS = P .. 'osts'         -- hash: files:I, bytes:I moved off source I; row:I failures in a row; new:I files that appeared on it;
                                 -- close:I what close_command came to, shows:I, opened:I, closing, opening (closing.lua)
local NEWFIDS = P .. 'newfids'   -- set: FIDs that are counted in new:I
local REASONS = P .. 'reasons'   -- hash: class/step/errno -> files, as they were settled
local WORKERS = P .. 'workers'   -- hash: process -> JSON
local BEATS = P .. 'beats'       -- zset: process by the server's time of its last heartbeat, ms
local FLIGHT = P .. 'flight'     -- hash: process -> what it has on its way, "OST:bytes,..." (work/flight.h)
local LEFT = P .. 'left'         -- hash: number -> packed chunk of leftovers
local LEFTFIDS = P .. 'leftfids' -- set: FIDs that are leftovers
local DONEFIDS = P .. 'donefids' -- set: FIDs that were leftovers and were resolved in this round
local ERRORS = P .. 'errors'     -- list: directories that could not be read in this round
local RESIDUE = P .. 'residue'   -- list: what names a source without an object on it, as found in this round
local LINKS = P .. 'links'       -- hash: inode of a file with several names -> the path of the one that is copied (clone)
local HELD = P .. 'held'         -- list: 'files bytes chunk' that waits for the links stage (clone)
local PARTS = P .. 'parts'       -- hash: key of a huge file -> parts that are not done; key:end -> the chunk that ends it (clone)
local GROUP = 'w'
local FREE = 'free'              -- the consumer that holds what was given back
local function stream(kind) return P .. kind end             -- scan, move: the two queues
local function progress(kind) return P .. kind .. ':progress' end
local function returned(kind) return P .. kind .. ':returned' end -- list: entries that FREE holds
local function left(class) return P .. 'left:' .. class end  -- zset: number:files:attempt:again by due time, ms

-- All that a campaign has but META, and a new start of it.
local function wipe()
  redis.call('UNLINK', LEDGER, OSTS, REASONS, LEFT, LEFTFIDS, DONEFIDS, NEWFIDS, ERRORS, RESIDUE, LINKS, HELD, PARTS, left('new'),
    left('busy'), left('changed'), left('refused'), left('no_space'), left('failed'))
  for _, kind in ipairs({ 'scan', 'move' }) do
    redis.call('UNLINK', stream(kind), progress(kind), returned(kind))
  end
end

local function make_queues()
  redis.call('XGROUP', 'CREATE', stream('scan'), GROUP, '0', 'MKSTREAM')
  redis.call('XGROUP', 'CREATE', stream('move'), GROUP, '0', 'MKSTREAM')
end

local CLASSES = { 'busy', 'changed', 'refused', 'no_space', 'failed' }

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- A drain must pass when memory is full: Redis lets a script go on once it has written, and lets XACK through.
local function open_gate() redis.call('XACK', stream('move'), GROUP, '0-1') end

-- The caller's token: its name holds its epoch, process and thread; the count rises whenever a claim changes hands.
local function stands(kind, id, who, count)
  local p = redis.call('XPENDING', stream(kind), GROUP, id, id, 1)
  return p[1] ~= nil and p[1][2] == who and p[1][4] == tonumber(count)
end

local function ledger(field, by)
  if by ~= 0 then redis.call('HINCRBY', LEDGER, field, by) end
end

-- Files of a chunk that are not settled yet.
local function remaining(id)
  local e = redis.call('XRANGE', stream('move'), id, id)
  if not e[1] then return 0 end
  local f = e[1][2]
  for i = 1, #f, 2 do
    if f[i] == 'n' then
      return tonumber(f[i + 1]) - tonumber(redis.call('HGET', progress('move'), id) or 0)
    end
  end
  return 0
end

-- Idle times and due times were told by another machine's clock, or by this one before it slept.
local function new_clock()
  for _, kind in ipairs({ 'scan', 'move' }) do
    local from = '-'
    while true do
      local page = redis.call('XPENDING', stream(kind), GROUP, from, '+', 500)
      for _, e in ipairs(page) do
        redis.call('XCLAIM', stream(kind), GROUP, e[2], 0, e[1], 'JUSTID')
      end
      if #page < 500 then break end
      from = '(' .. page[#page][1]
    end
  end
  local now = now_ms()
  local shift = now - tonumber(redis.call('HGET', META, 'clock') or now)
  if shift ~= 0 then
    for _, class in ipairs({ 'busy', 'changed' }) do
      for _, m in ipairs(redis.call('ZRANGEBYSCORE', left(class), '-inf', '(inf')) do
        redis.call('ZINCRBY', left(class), shift, m)
      end
    end
  end
  redis.call('HSET', META, 'clock', now)
  redis.call('HDEL', META, 'hungry:scan', 'hungry:move')
end

-- Whether an earlier holder of the chunk may have moved some of its files without a word.
local function is_again(id)
  if redis.call('HGET', progress('move'), id .. ':again') == '1' then return true end
  local e = redis.call('XRANGE', stream('move'), id, id)
  local f = e[1] and e[1][2] or {}
  for i = 1, #f, 2 do
    if f[i] == 'g' then return f[i + 1] == '1' end
  end
  return false
end

-- A claim goes back to the queue; its holder's token is void from now on.
-- again: the holder may have done some of it without a word.
local function give_back(kind, id, again)
  redis.call('XCLAIM', stream(kind), GROUP, FREE, 0, id, 'JUSTID')
  redis.call('RPUSH', returned(kind), id)
  if kind == 'move' then
    if again then redis.call('HSET', progress('move'), id .. ':again', 1) end
    local n = remaining(id)
    ledger('in_progress', -n)
    ledger('pending', n)
  else
    ledger('scan_active', -1)
    ledger('scan_pending', 1)
  end
end

-- Whether close_command is to be run for a source: it was not yet, or an earlier leader's failed.
local function is_open(ost)
  local ok, epoch = string.match(redis.call('HGET', OSTS, 'close:' .. ost) or '', '^(%d) (%S+)')
  return not ok or (ok == '0' and epoch ~= ARGV[1])
end

-- again: 1 when a holder that died may have moved some of the files without a word.
local function add_chunk(n, bytes, payload, attempt, again)
  redis.call('XADD', stream('move'), '*', 'p', payload, 'n', n, 'b', bytes, 'a', attempt, 'g', again)
  ledger('pending', tonumber(n))
end

local function add_frontier(payload)
  redis.call('XADD', stream('scan'), '*', 'p', payload)
  ledger('scan_pending', 1)
end

-- A chunk of leftovers goes back to the queue. member, due: of the class's set; attempt: of the files from now on. Returns how many files.
local function requeue(class, member, due, attempt)
  local number, n, before, again = string.match(member, '^(%d+):(%d+):(%d+):(%d)$')
  add_chunk(n, 0, redis.call('HGET', LEFT, number), attempt or before, again)
  redis.call('HDEL', LEFT, number)
  redis.call('ZREM', left(class), member)
  ledger(class, -tonumber(n))
  if due ~= 'inf' then ledger('scheduled', -tonumber(n)) end
  return tonumber(n)
end

local function requeue_all(class)
  local files, all = 0, redis.call('ZRANGE', left(class), 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do files = files + requeue(class, all[i], all[i + 1]) end
  return files
end

if ARGV[1] ~= '0' then
  local e = redis.call('HGET', META, 'epoch')
  if e ~= ARGV[1] then
    return redis.error_reply('EPOCH this server serves epoch ' .. tostring(e) .. ', not ' .. ARGV[1])
  end
end
