#!lua flags=allow-oom
-- Drop a lease on a connection, or the lead in a chore, for whoever holds it and nobody else.
-- KEYS: lease or lead[, record]   ARGV: owner[, whether the intent that it noted is settled ("1" or "")]
-- Answers 1, or 0 if it is somebody else's or nobody's. An intent goes only if it is this owner's; one that can't be read
-- is nobody's, and stays. Whoever drops a lease has no request on its way any more, whosever the lease is by now.
local function forget(field)
    local readable, noted = pcall(cjson.decode, redis.call('HGET', KEYS[2], field) or '{}')
    if readable and type(noted) == 'table' and noted['owner'] == ARGV[1] then
        redis.call('HDEL', KEYS[2], field)
    end
end
if KEYS[2] then
    forget('f')
    if ARGV[2] == '1' then
        forget('i')
    end
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
