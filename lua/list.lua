-- Returns the names of all campaigns of an external server.
return redis.call('SMEMBERS', CAMPAIGNS)
