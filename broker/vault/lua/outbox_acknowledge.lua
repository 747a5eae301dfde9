#!lua flags=allow-oom
-- Remove events from an outbox that have arrived, and with the last one the outbox itself.
-- KEYS: outbox
-- ARGV: entry, id of its event, …, the oldest first
-- Answers how many were removed.
-- A new outbox may give an entry's id away again, where the clock stands still or goes back: then it is another event's.
-- An outbox goes only after each of its entries has gone. So one entry that is still there, as it was read, says of all
-- the others that they are of this outbox.
for first = 1, #ARGV, 2 do
    local entry = redis.call('XRANGE', KEYS[1], ARGV[first], ARGV[first])[1]
    if entry then
        if not string.find(entry[2][2], '"' .. ARGV[first + 1] .. '"', 1, true) then
            return 0
        end
        local entries = {}
        for i = first, #ARGV, 2 do
            entries[#entries + 1] = ARGV[i]
        end
        local removed = redis.call('XDEL', KEYS[1], unpack(entries))
        if redis.call('XLEN', KEYS[1]) == 0 then
            redis.call('DEL', KEYS[1])
        end
        return removed
    end
end
return 0
