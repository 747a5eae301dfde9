#!lua
-- Take one event back, if its window is still open. What has ended stays ended, and no count falls below nothing.
-- KEYS: counter   Answers the count.
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
if count > 0 then
    return redis.call('DECR', KEYS[1])
end
return 0
