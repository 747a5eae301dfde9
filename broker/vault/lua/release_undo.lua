#!lua flags=allow-oom
-- Take a release back whose token could not be opened: nothing left the broker, so the use is given back and the record
-- says so.
-- KEYS: outbox[, reference]
-- ARGV: event
-- Answers 1.
if KEYS[2] then
    local ends = redis.call('HGET', KEYS[2], 'exp')
    if ends then
        redis.call('HINCRBY', KEYS[2], 'left', 1)
        redis.call('PEXPIREAT', KEYS[2], ends)
    end
end
redis.call('XADD', KEYS[1], '*', 'e', ARGV[1])
return 1
