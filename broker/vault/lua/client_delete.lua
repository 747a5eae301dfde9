#!lua flags=allow-oom
-- Remove a client, and say so. A repeat finds none, and says nothing a second time.
-- KEYS: client, outbox   ARGV: event ("" = none)   Answers 1, or 0 if there was none.
-- allow-oom: a client that must not come in any more must not stay because memory is full.
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
-- First of the writes: where no event can be written, nothing is removed.
if ARGV[1] ~= '' then
    redis.call('XADD', KEYS[2], '*', 'e', ARGV[1])
end
redis.call('DEL', KEYS[1])
return 1
