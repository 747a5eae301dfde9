#!lua
-- A machine is logged out, and what nobody uses any more is looked at soon.
-- KEYS: device sessions, outbox, due
-- ARGV: device session id, event, connection id, now (ms)
-- Answers 1, or 0 if there is no such device session (nothing changed).
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then
    return 0
end
redis.call('ZADD', KEYS[3], ARGV[4], 'abandon:' .. ARGV[3])
redis.call('XADD', KEYS[2], '*', 'e', ARGV[2])
return 1
