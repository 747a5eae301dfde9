#!lua flags=allow-oom
-- Prolong a lease on a connection, or the lead in a chore, for whoever holds it and nobody else.
-- KEYS: lease or lead   ARGV: owner, from now how long (ms)   Answers 1, or 0 if it is somebody else's or nobody's.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
