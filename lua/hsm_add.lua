-- Adds events to a stream, if its last entry is still the one that the caller has seen: who adds to it knows all that is in it.
-- KEYS[1]  the stream
-- ARGV[1]  the id of that entry, "0-0" for a stream that is not there
-- ARGV[2]  and on: the events, JSON
-- Returns {1, "ID ID ..."}, the ids of the new entries; or {0, ID}: the last entry is another, nothing was added.
local last = '0-0'
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = info[i + 1]
    end
  end
elseif not string.find(info.err, 'no such key', 1, true) then
  return info
end
if last ~= ARGV[1] then
  return {0, last}
end
local ids = {}
for i = 2, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'data', ARGV[i])
end
return {1, table.concat(ids, ' ')}
