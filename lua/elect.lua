-- Which name of a file with several names is copied. ARGV: epoch, (inode, path)...
-- Returns the path for each inode: the first that asked.
local out = {}
for i = 2, #ARGV, 2 do
  redis.call('HSETNX', LINKS, ARGV[i], ARGV[i + 1])
  out[#out + 1] = redis.call('HGET', LINKS, ARGV[i])
end
return out
