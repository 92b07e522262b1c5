-- Returns {the spec of the campaign, '' when there is none}.
return { redis.call('HGET', META, 'spec') or '' }
