-- A holder's heart beats: its claims stay its own. ARGV: epoch, (kind, id, consumer, deliveries)...
-- Returns a 1 or a 0 (lost) for each.
open_gate()
local r = {}
for i = 2, #ARGV, 4 do
  local kind, id, who = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local mine = stands(kind, id, who, ARGV[i + 3])
  if mine then redis.call('XCLAIM', stream(kind), GROUP, who, 0, id, 'JUSTID') end
  r[#r + 1] = mine and 1 or 0
end
return r
