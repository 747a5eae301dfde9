#!lua flags=allow-oom
-- Create a connection's record together with its audit event.
-- allow-oom: the code is redeemed, and the person's consent would be spent for nothing.
-- KEYS: record, outbox
-- ARGV: event, then field, value, …
-- Answers 1, or 0 if the record is there already (nothing changed).
if redis.call('EXISTS', KEYS[1]) == 1 then
    return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('XADD', KEYS[2], '*', 'e', ARGV[1])
return 1
