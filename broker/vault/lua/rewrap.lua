#!lua flags=allow-oom
-- Put envelopes in the place of others, each only where the bytes are still exactly those that were read: whoever
-- wrote meanwhile (a refresh) wins. When the key disappears, and everything else in it, stays as it is.
-- KEYS: what holds the envelopes
-- ARGV: its shape ("hash", "string" or "list"), then field ("" unless it is a hash), expected value, new value, …
-- Answers how many were replaced.
-- allow-oom: what comes is as large as what goes, and a key that has to be replaced may have to be replaced now.
local replaced = 0
for i = 2, #ARGV, 3 do
    local field, expected, new = unpack(ARGV, i, i + 2)
    if ARGV[1] == 'hash' then
        if redis.call('HGET', KEYS[1], field) == expected then
            redis.call('HSET', KEYS[1], field, new)
            replaced = replaced + 1
        end
    elseif ARGV[1] == 'string' then
        if redis.call('GET', KEYS[1]) == expected then
            redis.call('SET', KEYS[1], new, 'KEEPTTL')
            replaced = replaced + 1
        end
    else
        for position, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
            if entry == expected then
                redis.call('LSET', KEYS[1], position - 1, new)
                replaced = replaced + 1
                break
            end
        end
    end
end
return replaced
