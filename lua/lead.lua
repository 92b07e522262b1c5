-- Who leads, on an external server: asked by every process once a second. ARGV: 0, campaign id, the caller's name, ms that its
-- leadership lives without being asked for again (0: it gives it up), its host, a random word
-- Returns {0 another leads, or nobody needs to, 1 the caller leads, as before, 2 from now on, the epoch, the leader's host, state}
open_gate()
local id = redis.call('HGET', META, 'id')
if not id then return redis.error_reply('EMPTY the server holds no such campaign') end
if id ~= ARGV[2] then return redis.error_reply('FOREIGN the server holds campaign ' .. id .. ' under this name') end
local holder = redis.call('GET', LEADER)
local mine = holder == ARGV[3]
if ARGV[4] == '0' then
  if mine then redis.call('DEL', LEADER) end
  return { 0, '', '', '' }
end
-- Another server since, or the same one started again: what it acknowledged last may be gone, and no epoch of before counts.
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local m = redis.call('HMGET', META, 'epoch', 'leader', 'state', 'server')
local server = replid .. '/' .. run
local same = m[4] == server
local over = m[3] == 'failed' or string.find(m[3] or '', 'completed', 1, true)
if not mine and (over or (holder and same)) then return { 0, m[1] or '', m[2] or '', m[3] or '' } end
if mine and same then
  redis.call('PEXPIRE', LEADER, ARGV[4])
  return { 1, m[1], m[2] or '', m[3] or '' }
end
local epoch = (tonumber(string.match(m[1] or '0', '^%d+')) + 1) .. '-' .. ARGV[6]
redis.call('SET', LEADER, ARGV[3], 'PX', ARGV[4])
redis.call('HSET', META, 'epoch', epoch, 'leader', ARGV[5], 'server', server, 'scan_hold', 0)
if not same then new_clock() end
return { 2, epoch, ARGV[5], m[3] or '' }
