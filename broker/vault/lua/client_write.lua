#!lua
-- Store a client's document, and say so, unless it was changed or removed since it was read.
-- KEYS: client, outbox
-- ARGV: document as it was read ("" = whatever stands there gives way), document to store, event
-- Answers 1, or 0 if another one stands there, or none (nothing changed).
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
-- First of the writes: where no event can be written, nothing is changed.
redis.call('XADD', KEYS[2], '*', 'e', ARGV[3])
redis.call('SET', KEYS[1], ARGV[2])
return 1
