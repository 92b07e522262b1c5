-- What an external server is, by a user who may do what the other scripts do. Returns {version, policy when memory is full}.
redis.call('TIME')
local version = string.match(redis.call('INFO', 'server'), 'redis_version:([%d.]+)') or ''
return { version, string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w-]+)') or '' }
