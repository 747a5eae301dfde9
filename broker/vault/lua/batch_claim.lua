#!lua flags=allow-oom
-- Say who works on a batch from now on: whoever did before, stopped as they may be, takes no step of it any more.
-- KEYS: batch   ARGV: who   Answers 1, or 0 if there is none.
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], 'by', ARGV[1])
return 1
