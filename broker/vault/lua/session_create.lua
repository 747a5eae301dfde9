#!lua
-- Store a new connect session with its end, so that none is ever left without one.
-- Where a repeat of a lost request opens it again, nothing of the session before is left.
-- KEYS: session   ARGV: when it disappears (ms since the epoch), then field, value, …
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return redis.call('PEXPIREAT', KEYS[1], ARGV[1])
