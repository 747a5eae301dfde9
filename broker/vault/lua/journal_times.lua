#!lua flags=allow-oom
-- Note when connections of one bucket had events, and forget times at which their tenant's journal has none any more.
-- KEYS: the times of a connection, …
-- ARGV: how long they are kept without another one (ms), times before this go ("" = none), then for each connection how
--       many times, and those
-- Answers 1. Repeating it changes nothing.
local at = 3
for n = 1, #KEYS do
    local last = at + ARGV[at]
    for i = at + 1, last do
        redis.call('ZADD', KEYS[n], ARGV[i], ARGV[i])
    end
    redis.call('PEXPIRE', KEYS[n], ARGV[1])
    if ARGV[2] ~= '' then
        redis.call('ZREMRANGEBYSCORE', KEYS[n], '-inf', '(' .. ARGV[2])
    end
    at = last + 1
end
return 1
