-- Which of these FIDs are leftovers, or were resolved in this round. ARGV: epoch, FIDs... Returns a 0 or 1 for each.
local r = {}
for i = 2, #ARGV do
  r[i - 1] = (redis.call('SISMEMBER', LEFTFIDS, ARGV[i]) == 1 or redis.call('SISMEMBER', DONEFIDS, ARGV[i]) == 1) and 1 or 0
end
return r
