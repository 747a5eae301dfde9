-- What wrk sends: ready-made requests out of a file, in turn; and what it saw, as one line of JSON.
-- wrk … -s requests.lua URL -- FILE [statuses]
-- FILE holds for each request its length in bytes, a line end, and so many bytes. With `statuses` every answer's status is
-- counted, too, which costs wrk more than it costs a fast server to answer: only to find out what went wrong.

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init(arguments)
    requests, statuses, turn = {}, {}, 0
    local file = assert(io.open(arguments[1], "rb"))
    local length = file:read("*n")
    while length do
        file:read(1)
        table.insert(requests, file:read(length))
        length = file:read("*n")
    end
    file:close()
    if arguments[2] == "statuses" then
        function response(status)
            statuses[status] = (statuses[status] or 0) + 1
        end
    end
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end

function done(summary, latency)
    local errors, counted = summary.errors, {}
    for _, thread in ipairs(threads) do
        for status, count in pairs(thread:get("statuses")) do
            table.insert(counted, string.format('"%d":%d', status, count))
        end
    end
    io.write(string.format(
        '\n{"requests":%d,"microseconds":%d,"bytes":%d,"refused":%d,"broken":%d,"timed_out":%d,'
            .. '"latency":{"p50":%d,"p90":%d,"p99":%d,"p99.9":%d,"max":%d,"mean":%d},"statuses":{%s}}\n',
        summary.requests, summary.duration, summary.bytes, errors.status,
        errors.connect + errors.read + errors.write, errors.timeout,
        latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9),
        latency.max, latency.mean, table.concat(counted, ",")
    ))
end
