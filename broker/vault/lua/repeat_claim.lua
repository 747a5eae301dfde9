#!lua
-- Claim the right to carry out a request that may come again.
-- KEYS: repeat
-- ARGV: name of this attempt, now (ms), until when nobody else may take it over (ms), sealed claim, tenant, how long it is
--       kept (ms)
-- Answers {"claimed"}, {"running", claim}, {"answered", claim, answer}, or {"resumed", claim}: an attempt before this one
-- came to no end that is known, and this one goes on with what that one had drawn.
local by, ends, claim, answer = unpack(redis.call('HMGET', KEYS[1], 'by', 'until', 'c', 'a'))
if answer then
    return {'answered', claim, answer}
end
if by == ARGV[1] then
    return {'resumed', claim}
end
if by and tonumber(ends) > tonumber(ARGV[2]) then
    return {'running', claim}
end
redis.call('HSET', KEYS[1], 'by', ARGV[1], 'until', ARGV[3])
if by then
    return {'resumed', claim}
end
redis.call('HSET', KEYS[1], 'c', ARGV[4], 't', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return {'claimed'}
