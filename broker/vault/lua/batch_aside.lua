#!lua
-- Say of rows of a batch that their connection has another id than the one drawn for it, or that they make none.
-- KEYS: batch, rows
-- ARGV: who works on it, how long it is kept (ms), then position, id, … ("" = none, "-" = the drawn one again)
-- Answers 1, or 0 if somebody else has claimed the batch (nothing changed). Repeating it changes nothing.
if (redis.call('HGET', KEYS[1], 'by') or '') ~= ARGV[1] then
    return 0
end
for i = 3, #ARGV, 2 do
    if ARGV[i + 1] == '-' then
        redis.call('HDEL', KEYS[2], ARGV[i])
    else
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    end
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
