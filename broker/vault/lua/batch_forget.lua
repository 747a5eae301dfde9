#!lua flags=allow-oom
-- Let nothing be left of a batch.
-- KEYS: batch, rows   ARGV: who works on it
-- Answers 1, also where there is none; 0 if somebody else has claimed it (nothing changed).
local there, holder = unpack(redis.call('HMGET', KEYS[1], 'state', 'by'))
if there and (holder or '') ~= ARGV[1] then
    return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
