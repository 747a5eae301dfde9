#!lua flags=allow-oom
-- Let a connection be as any other: no batch has brought it.
-- KEYS: record   ARGV: how the batch brought it (the field "b", whole)   Answers 1, or 0 if that isn't so.
if redis.call('HGET', KEYS[1], 'b') == ARGV[1] then
    return redis.call('HDEL', KEYS[1], 'b')
end
return 0
