#!lua flags=allow-oom
-- Write events into a tenant's journal, and drop what is too old or too much. Repeating it changes nothing.
-- KEYS: journal
-- ARGV: how long the journal is kept without another event (ms), how many events are kept, events up to this time go
--       ("" = none), then time, event, …
-- Answers the time of the oldest event that is there, or false.
-- allow-oom: they stand in an outbox, which is smaller afterwards.
redis.call('ZADD', KEYS[1], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if ARGV[3] ~= '' then
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[2] - 1)
return redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or false
