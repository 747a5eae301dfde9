#!lua flags=allow-oom
-- Give a slot back and note how the request went.
-- KEYS: slots, state
-- ARGV: holder, when it was admitted (ms), how it went ("well", "failed", "refused", "" = that says nothing),
--       how long a pause is asked for (ms, "" = not said), failures in a row that begin a pause,
--       shortest and longest pause of our own choosing (ms), how long this is remembered (ms),
--       whether it was a trial ("1" or ""): whose failures begin pauses of the shortest kind, and make none longer
-- Answers the length of the pause that this begins (ms), or 0. A request from before a pause says nothing of what came
-- after it, except how long the provider wants it to be.
redis.call('ZREM', KEYS[1], ARGV[1])
local how, asked = ARGV[3], tonumber(ARGV[4])
if how == '' then
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since, ends, failures, strikes = unpack(redis.call('HMGET', KEYS[2], 'since', 'ends', 'failures', 'strikes'))
if since and tonumber(ARGV[2]) <= tonumber(since) then
    if asked and now + asked > tonumber(ends) then
        redis.call('HSET', KEYS[2], 'ends', now + asked)
        redis.call('PEXPIRE', KEYS[2], asked + ARGV[8])
    end
    return 0
end
if how == 'well' then
    redis.call('DEL', KEYS[2])
    return 0
end
failures = (tonumber(failures) or 0) + 1
strikes = tonumber(strikes) or 0
if how == 'failed' and strikes == 0 and failures < tonumber(ARGV[5]) then
    redis.call('HSET', KEYS[2], 'failures', failures)
    redis.call('PEXPIRE', KEYS[2], ARGV[8])
    return 0
end
local trial = ARGV[9] == '1'
local pause = asked or math.min(ARGV[6] * 2 ^ (trial and 0 or strikes), tonumber(ARGV[7]))
strikes = trial and strikes or strikes + 1
redis.call('HSET', KEYS[2], 'since', now, 'ends', now + pause, 'strikes', strikes, 'failures', failures)
redis.call('PEXPIRE', KEYS[2], pause + ARGV[8])
return pause
