-- The leader's view of speed, for whoever shows it; whether scanners rest because memory is short; and what all processes
-- that live have on their way, added up. ARGV: epoch, JSON, hold (1, 0, or '': as it is)
open_gate()
redis.call('HSET', META, 'rates', ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', META, 'scan_hold', ARGV[3]) end

-- Of a thousand processes it takes some 60 ms: then it is done every five seconds.
local now = now_ms()
local at = tonumber(redis.call('HGET', META, 'flight_at') or 0)
if now >= at and now < at + 5 * redis.call('HLEN', FLIGHT) then return { 1 } end
local sums, osts = {}, {}
local told = redis.call('HGETALL', FLIGHT)
for i = 1, #told, 2 do
  if not redis.call('ZSCORE', BEATS, told[i]) then
    redis.call('HDEL', FLIGHT, told[i])
  else
    for ost, bytes in string.gmatch(told[i + 1], '(%d+):(%d+)') do
      if not sums[ost] and tonumber(ost) < 65536 then osts[#osts + 1] = ost end
      sums[ost] = (sums[ost] or 0) + tonumber(bytes)
    end
  end
end
-- Those with the most bytes, so that the answer to a heartbeat stays short whatever was told.
if #osts > 2048 then
  table.sort(osts, function(a, b) return sums[a] > sums[b] end)
end
local text = {}
for i = 1, math.min(#osts, 2048) do
  local bytes = math.min(sums[osts[i]], 2 ^ 52)
  if bytes > 0 then text[#text + 1] = string.format('%d:%.0f', osts[i], bytes) end
end
redis.call('HSET', META, 'flight', table.concat(text, ','), 'flight_at', now)
redis.call('HINCRBY', META, 'flight_sums', 1)
return { 1 }
