-- What an external server is. Returns {version, policy when memory is full}.
local version = string.match(redis.call('INFO', 'server'), 'redis_version:([%d.]+)') or ''
return { version, string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w-]+)') or '' }
