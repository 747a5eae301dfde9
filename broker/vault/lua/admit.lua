#!lua flags=allow-oom
-- Take one of an endpoint's slots, unless there is a pause. After a pause, until a request ends well, there is but one.
-- KEYS: slots, state
-- ARGV: holder, number of slots, how long the slot is kept at most (ms), whether this connection failed lately ("1" or "")
-- Who failed lately waits as long again after a pause, ten seconds at most: the one request should be somebody's who
-- may end it, or those whose requests always fail would go on shutting everybody out.
-- Answers {"in", now (ms)}, {"full"}, or {"paused", milliseconds left}. Time is the store's, on which all replicas agree.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since, ends, strikes = unpack(redis.call('HMGET', KEYS[2], 'since', 'ends', 'strikes'))
if ends and ARGV[4] == '1' then
    ends = tonumber(ends) + math.min(ends - since, 10000)
end
if ends and now < tonumber(ends) then
    return {'paused', tonumber(ends) - now}
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local slots = strikes and 1 or tonumber(ARGV[2])
if redis.call('ZCARD', KEYS[1]) >= slots then
    return {'full'}
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return {'in', now}
