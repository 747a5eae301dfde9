#!lua flags=allow-oom
-- Claim due work of some kinds: hide it from everybody for a while.
-- KEYS: due   ARGV: now (ms), until when it is hidden (ms), how many at most, kinds (",a,b,")
-- Answers the members, the longest due first. Work of other kinds stays as it is, and only so much of it is looked past.
local claimed, most = {}, tonumber(ARGV[3])
for page = 0, 19 do
    local members = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', page * 100, 100)
    for _, member in ipairs(members) do
        if #claimed == most then
            break
        end
        if string.find(ARGV[4], ',' .. string.match(member, '^[^:]*') .. ',', 1, true) then
            claimed[#claimed + 1] = member
        end
    end
    if #claimed == most or #members < 100 then
        break
    end
end
for _, member in ipairs(claimed) do
    redis.call('ZADD', KEYS[1], ARGV[2], member)
end
return claimed
