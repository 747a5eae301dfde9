#!lua
-- Replace a client's document, unless it was changed or removed since it was read.
-- KEYS: client   ARGV: document as it was read, document to store   Answers 1, or 0 if another one stands there, or none.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
