-- Read the fleet. Returns JSON [now, breakers, names of more breakers, transitions], and then for each worker its id, what it
-- tells and how many seconds ago it did, which is not written into the JSON: it is long. Asked for breakers by name,
-- returns JSON [now, breakers] alone.
--
-- KEYS  breakers (names by revision), transitions, workers, beats
-- ARGV  prefix of the breakers' keys (of the same slot), how many transitions, how many breakers at once,
--       a clock for tests or '', and names of breakers

local now = tonumber(ARGV[4])
if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function shared(entry)
    local widest, totals = 0, {0, 0, 0}
    for field in pairs(entry.buckets) do widest = math.max(widest, tonumber((bucket_of(field)))) end
    for field, value in pairs(entry.buckets) do
        local width, number = bucket_of(field)
        width = tonumber(width)
        if width == widest and (number + 10) * width > now then
            for index, more in ipairs(counts_of(value)) do totals[index] = totals[index] + more end
        end
    end
    local leases, votes = {}, 0
    if entry.rest_text == NO_REST then return json({totals[1], totals[2], totals[3], 0, 0, 0, leases}) end
    local held = rest(entry)
    for _, place in ipairs(held.places) do
        if place[4] > now then
            leases[#leases + 1] = {place[2], math.max(0, now - place[3]), place[4] - now, place[5]}
        end
    end
    for _, vote in ipairs(held.votes) do
        if vote[2] > now then votes = votes + 1 end
    end
    return json({totals[1], totals[2], totals[3], held.successes, held.expiries, votes, leases})
end

local names, more, breakers, workers, transitions = {unpack(ARGV, 5)}, {}, {}, {}, {}
local is_rest = #names > 0
if not is_rest then
    for index, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        if index <= tonumber(ARGV[3]) then names[index] = name else more[#more + 1] = name end
    end
end
for _, name in ipairs(names) do
    local entry = load_entry(ARGV[1] .. name)
    if entry.exists then
        breakers[#breakers + 1] = '[' .. json(name) .. ',' .. entry.record_text .. ',' .. shared(entry) .. ']'
    else
        redis.call('ZREM', KEYS[1], name)
    end
end
if is_rest then return {'[' .. json(now) .. ',[' .. table.concat(breakers, ',') .. ']]'} end
local beats = redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES')
for index = 1, #beats, 2 do
    local told = redis.call('HGET', KEYS[3], beats[index])
    if told then
        workers[#workers + 1] = beats[index]
        workers[#workers + 1] = told
        workers[#workers + 1] = number_text(math.max(0, now - tonumber(beats[index + 1])))
    end
end
for index, told in ipairs(redis.call('LRANGE', KEYS[2], 0, tonumber(ARGV[2]) - 1)) do
    transitions[index] = json(told)
end
local head = '[' .. json(now) .. ',[' .. table.concat(breakers, ',') .. '],' .. json(more) ..
    ',[' .. table.concat(transitions, ',') .. ']]'
table.insert(workers, 1, head)
return workers
