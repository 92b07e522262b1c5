-- A page of leftovers. ARGV: epoch, class, offset, count. Returns {payload, ...}.
local r = {}
local n = tonumber(ARGV[3])
for _, m in ipairs(redis.call('ZRANGE', left(ARGV[2]), n, n + tonumber(ARGV[4]) - 1)) do
  r[#r + 1] = redis.call('HGET', LEFT, (string.match(m, '^%d+')))
end
return r
