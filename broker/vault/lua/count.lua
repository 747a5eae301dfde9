#!lua
-- Count within a fixed window that begins with the first event.
-- KEYS: counter   ARGV: amount, window (ms)   Answers {count, milliseconds left}.
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if count == tonumber(ARGV[1]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {count, redis.call('PTTL', KEYS[1])}
