#!lua flags=allow-oom
-- Note the intent to refresh, as the last step before anything is sent, and prolong the lease.
-- KEYS: record, lease
-- ARGV: owner, lease time (ms), generation that is to be replaced, intent (JSON)
-- Answers 1, or 0 if the lease is somebody else's by now, or the record has left that generation: then nothing may be
-- sent. An earlier intent stays: it says since when the outcome is unknown. Who sends now is noted beside it, until who
-- that is has come back. Repeating it changes nothing.
if redis.call('GET', KEYS[2]) ~= ARGV[1] or redis.call('HGET', KEYS[1], 'g') ~= ARGV[3] then
    return 0
end
redis.call('HSETNX', KEYS[1], 'i', ARGV[4])
redis.call('HSET', KEYS[1], 'f', ARGV[4])
return redis.call('PEXPIRE', KEYS[2], ARGV[2])
