#!lua flags=allow-oom
-- Note when a connection had events, and forget times at which its tenant's journal has none any more.
-- KEYS: the connection's times
-- ARGV: how long they are kept without another one (ms), times before this go ("" = none), then times
-- Answers 1. Repeating it changes nothing.
for i = 3, #ARGV do
    redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[2])
end
return 1
