#!lua flags=allow-oom
-- Prolong a lease, only by who holds it.
-- KEYS: lease   ARGV: owner, lease time (ms)   Answers 1, or 0 if it is somebody else's or nobody's.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
