-- All that is done in Redis, as one script. KEYS[1] is the prefix: its hash tag keeps every key of a bot in one slot,
-- so a script sees and changes all of it at once.
--
--   ARGV = request id, schema version, who asks, "d" for digests or "",
--          checks, each a list of digest, name, arguments...
--          steps,  each a list of name, arguments...
--          what of their arguments is binary
--
-- Checks and steps come as MessagePack: one long text is read ten times as fast, here and there, as thousands of short
-- ones. All arguments are texts; a number stands for that one of the binary ones.
--
-- A check is a question asked again: if its answer has another digest than before, nothing is done and the answer is
-- {0, number of the check, its answer}. Else the steps are taken, and the answer is {1, {answers}, changes} or, with
-- digests, {1, {digest, answer, digest, answer, ...}, changes}, where changes counts those that others marked. A request id is remembered for a while: the same request again (its
-- answer was lost on the way) does nothing, and gets the first step's answer. {2, version}: of another schema.
--
-- A step is a function below or else a command of Redis whose first argument is a key without the prefix.

local P, ME = KEYS[1], ARGV[3]
local step = {}

--- How long a request is remembered, in seconds: longer than anybody tries again.
local REMEMBERED = 60
local PAGE = 200

local function call(command, key, ...)
  return redis.call(command, P .. key, ...)
end

local function number(n)
  return string.format('%.0f', n)
end

--- The members of a lexical index that begin with a prefix. No text of ours has the byte 255.
local function beginning(index, prefix, limit)
  return call('ZRANGEBYLEX', index, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, limit or -1)
end

local function docs(hash, names, from)
  local found = {}
  for first = from, #names, PAGE do
    local page = call('HMGET', hash, unpack(names, first, math.min(first + PAGE - 1, #names)))
    for i = 1, #page do found[#found + 1] = page[i] end
  end
  return found
end

local function set(...)
  local order, known = {}, {}
  return order, function(name)
    if not known[name] then
      known[name] = true
      order[#order + 1] = name
    end
  end
end

--- hash, names... → the documents, false for what is absent.
function step.docs(a)
  return docs(a[1], a, 2)
end

--- index, prefix → its members that begin so.
function step.beginning(a)
  return beginning(a[1], a[2])
end

--- Nine lists, each after its length (see `Keys`), since when deploys are wanted or "", how many of a service, how many
--- sources → alerts, incidents, {relation's source...}, {relation's incident...}, windows, deploys.
function step.load(a)
  local at = 1
  local function list()
    local first, last = at + 1, at + tonumber(a[at])
    at = last + 1
    return function()
      first = first + 1
      if first - 1 <= last then return a[first - 1] end
    end
  end
  local places, place = set()
  local ids, id = set()
  for identity in list() do
    for _, m in ipairs(beginning('current', identity .. '\0')) do
      place(m:sub(#identity + 2) .. '\0' .. identity)
    end
  end
  for key in list() do
    local newest = call('ZREVRANGEBYLEX', 'newest', '(' .. key .. '\0\255', '[' .. key .. '\0', 'LIMIT', 0, 1)[1]
    if newest then id(newest:match('([^%z]*)$')) end
  end
  for incident in list() do id(incident) end
  for incident in list() do
    id(incident)
    for _, m in ipairs(beginning('unsettled', incident .. '\0')) do place(m) end
  end
  local sources, waiting = {}, {}
  for relation in list() do
    for side = 0, 1 do
      local limit = tonumber(a[#a])
      for _, m in ipairs(beginning('sources', relation .. '\0' .. side .. '\0', limit)) do sources[#sources + 1] = m end
    end
  end
  for relation in list() do
    local from, to = '[' .. relation .. '\0', '(' .. relation .. '\0\255'
    while true do
      local m = call('ZRANGEBYLEX', 'held', from, to, 'LIMIT', 0, 1)[1]
      if not m then break end
      local pair = m:match('^[^%z]*%z[^%z]*')
      waiting[#waiting + 1] = pair
      from = '(' .. pair .. '\0\255'
    end
  end
  for window in list() do
    for _, m in ipairs(beginning('held_in', window .. '\0')) do place(m:sub(#window + 2)) end
  end
  local windows, window = set()
  for name in list() do window(name) end
  if #windows > 0 then
    for _, name in ipairs(call('ZRANGE', 'windows.open', 0, -1)) do window(name) end
  end
  local deploys, deploy = set()
  for service in list() do
    for _, m in ipairs(beginning('deploys.of', service .. '\0', a[#a - 1])) do deploy(m:match('([^%z]*)$')) end
  end
  if a[#a - 2] ~= '' then
    for _, name in ipairs(call('ZRANGEBYSCORE', 'deploys.heard', a[#a - 2], '+inf')) do deploy(name) end
  end
  return {
    docs('alerts', places, 1), docs('incidents', ids, 1), sources, waiting,
    docs('windows', windows, 1), docs('deploys', deploys, 1),
  }
end

--- index or "", prefix, cursor, how many, pieces... → the next cursor or "", then documents of alerts that contain all
--- pieces. The index is walked, or with "current" its members are turned round to places.
function step.matching(a)
  local from = a[3] == '' and '[' .. a[2] or '(' .. a[3]
  local page = call('ZRANGEBYLEX', a[1], from, '(' .. a[2] .. '\255', 'LIMIT', 0, a[4])
  local places = {}
  for i, m in ipairs(page) do
    places[i] = a[1] == 'current' and m:match('%z([^%z]*)$') .. '\0' .. m:match('^[^%z]*') or m
  end
  local found = {#page == tonumber(a[4]) and page[#page] or ''}
  for _, doc in ipairs(docs('alerts', places, 1)) do
    local has = doc
    for i = 5, #a do has = has and doc:find(a[i], 1, true) end
    if has then found[#found + 1] = doc end
  end
  return found
end

-- Events.

--- Of each event: microseconds, record → the first one's seq.
function step.append(a)
  local count = #a / 2
  local first = call('HINCRBY', 'counters', 'events', count) - count + 1
  for i = 0, count - 1 do
    local seq = number(first + i)
    call('HSET', 'bodies', seq, a[2 * i + 2])
    call('ZADD', 'events', seq, seq .. ':' .. a[2 * i + 1])
    call('ZADD', 'undecided', seq, seq)
    call('HSET', 'owners', seq, ME)
  end
  return number(first)
end

--- The next undecided seqs past one, their owners, and the last of them or, at the end, "".
local function undecided(after, limit)
  local page = call('ZRANGEBYSCORE', 'undecided', '(' .. after, '+inf', 'LIMIT', 0, limit)
  return page, docs('owners', page, 1), #page == tonumber(limit) and page[#page] or ''
end

--- past a seq, how many to look at → where to go on or "", then those of them that are ours.
function step.mine(a)
  local page, owners, last = undecided(a[1], a[2])
  local found = {last}
  for i, seq in ipairs(page) do
    if owners[i] == ME then found[#found + 1] = seq end
  end
  return found
end

--- bytes, seqs... → records of the first of them, until there are so many bytes; "" for one that is gone.
function step.bodies(a)
  local found, bytes, most = {}, 0, tonumber(a[1])
  for i = 2, #a do
    local body = call('HGET', 'bodies', a[i]) or ''
    found[#found + 1] = body
    bytes = bytes + #body
    if bytes >= most then break end
  end
  return found
end

--- seqs... → those that are not undecided any more, or somebody else's.
function step.lost(a)
  local found = {}
  for _, seq in ipairs(a) do
    if call('HGET', 'owners', seq) ~= ME then found[#found + 1] = seq end
  end
  return found
end

--- seqs... are decided.
function step.done(a)
  for _, seq in ipairs(a) do
    call('ZREM', 'undecided', seq)
    call('HDEL', 'owners', seq)
  end
end

-- Replicas.

local function living()
  local lives = {}
  for _, owner in ipairs(call('ZRANGE', 'replicas', 0, -1)) do lives[owner] = true end
  return lives
end

--- now, until → the deliveries that the dead had. We live until then.
function step.renew(a)
  call('ZADD', 'replicas', a[2], ME)
  for _, dead in ipairs(call('ZRANGEBYSCORE', 'replicas', '-inf', '(' .. a[1])) do
    call('ZREM', 'replicas', dead)
    call('HDEL', 'changes', dead)
  end
  local lives, left, leases = living(), {}, call('HGETALL', 'leases')
  for i = 1, #leases, 2 do
    if not lives[leases[i + 1]] then left[#left + 1] = leases[i] end
  end
  return left
end

--- past a seq, how many to look at → where to go on or "", how many of them were a dead one's, how many are ours now.
function step.take_over(a)
  local lives, taken, mine = living(), 0, 0
  local page, owners, last = undecided(a[1], a[2])
  for i, seq in ipairs(page) do
    if not lives[owners[i]] then
      call('HSET', 'owners', seq, ME)
      owners[i], taken = ME, taken + 1
    end
    if owners[i] == ME then mine = mine + 1 end
  end
  return {last, taken, mine}
end

--- We end in good order: others need not wait until our time is over.
function step.leave()
  call('ZREM', 'replicas', ME)
  call('HDEL', 'changes', ME)
end

--- The others are to know that an alert has changed.
function step.mark()
  call('HINCRBY', 'changes', '', 1)
  call('HINCRBY', 'changes', ME, 1)
end

--- The replica that has an incident, and until when, as `woken` says it.
local function claim_of(text)
  if text then return text:match('^(%S+) (%S+)$') end
end

--- now, until, how many → ids of incidents that are due, and ours until then.
function step.due(a)
  local found, now, limit, offset = {}, tonumber(a[1]), tonumber(a[3]), 0
  repeat
    local page = call('ZRANGEBYSCORE', 'wake', '-inf', a[1], 'LIMIT', offset, PAGE)
    local woken = docs('woken', page, 1)
    for i, id in ipairs(page) do
      local owner, till = claim_of(woken[i])
      if #found < limit and (not owner or owner == ME or tonumber(till) <= now) then
        call('HSET', 'woken', id, ME .. ' ' .. a[2])
        found[#found + 1] = id
      end
    end
    offset = offset + PAGE
  until #page < PAGE or #found >= limit
  return found
end

--- When the next incident is due that is not somebody else's, or is not any more.
function step.next_wake()
  local window = call('ZRANGE', 'windows.wake', 0, 0, 'WITHSCORES')[2]
  local best, offset = window and tonumber(window), 0
  while true do
    local page = call('ZRANGE', 'wake', offset, offset + PAGE - 1, 'WITHSCORES')
    local ids = {}
    for i = 1, #page, 2 do ids[#ids + 1] = page[i] end
    local woken = docs('woken', ids, 1)
    for i = 1, #page, 2 do
      local at = tonumber(page[i + 1])
      if best and at >= best then return number(best) end
      local owner, till = claim_of(woken[(i + 1) / 2])
      if owner and owner ~= ME then at = math.max(at, tonumber(till)) end
      best = best and math.min(best, at) or at
    end
    if #page < 2 * PAGE then return best and number(best) or false end
    offset = offset + PAGE
  end
end

-- Deliveries. The index `lane` has lane \0 rank (6) \0 since (20) \0 id of all that is due now or later.

local function due_in(lane, now, limit)
  local found, from, to, size = {}, '[' .. lane .. '\0', '(' .. lane .. '\0\255', math.min(limit, PAGE)
  while true do
    local page = call('ZRANGEBYLEX', 'lane', from, to, 'LIMIT', 0, size)
    if #page == 0 then return found end
    local ids = {}
    for i, m in ipairs(page) do ids[i] = m:sub(#lane + 30) end
    local due_at = call('ZMSCORE', 'due', unpack(ids))
    for i, m in ipairs(page) do
      if tonumber(due_at[i]) <= now then found[#found + 1] = m:sub(#lane + 2) end
      if #found == limit then return found end
    end
    if #page < size then return found end
    from, size = '(' .. page[#page], PAGE
  end
end

--- Nothing is: then no lane is walked.
local function none_due(now)
  return call('ZCOUNT', 'due', '-inf', now) == 0
end

--- lane, now, how many → rows that are due, the most urgent first.
function step.due_in(a)
  if none_due(a[2]) then return {} end
  local ids = due_in(a[1], tonumber(a[2]), tonumber(a[3]))
  for i, m in ipairs(ids) do ids[i] = m:sub(29) end
  return docs('rows', ids, 1)
end

--- now → lane, rank and since of the first that is due in it, ...
function step.lanes(a)
  local found, from = {}, '-'
  if none_due(a[1]) then return found end
  while true do
    local m = call('ZRANGEBYLEX', 'lane', from, '+', 'LIMIT', 0, 1)[1]
    if not m then return found end
    local lane = m:match('^[^%z]*')
    local first = due_in(lane, tonumber(a[1]), 1)[1]
    if first then
      found[#found + 1] = lane
      found[#found + 1] = first:sub(1, 27)
    end
    from = '(' .. lane .. '\0\255'
  end
end

-- What people did a moment ago.

--- now, until, what it was → 1 where nobody remembers it; it is remembered until then.
function step.once(a)
  call('ZREMRANGEBYSCORE', 'once', '-inf', a[1])
  return call('ZADD', 'once', 'NX', a[2], a[3])
end

-- The request.

local function flat(answer, into)
  if type(answer) == 'table' then
    into[#into + 1] = '*' .. #answer
    for i = 1, #answer do flat(answer[i], into) end
  else
    local text = tostring(answer)
    into[#into + 1] = #text .. ':' .. text
  end
end

local function digest(answer)
  local parts = {}
  flat(answer, parts)
  return redis.sha1hex(table.concat(parts))
end

local function ask(words)
  for i, word in ipairs(words) do
    if type(word) == 'number' then words[i] = ARGV[6 + word] end
  end
  local name = table.remove(words, 1)
  if step[name] then return step[name](words) or false end
  local answer = call(name, unpack(words))
  return answer or false
end

local function changes()
  local counts = redis.call('HMGET', P .. 'changes', '', ME)
  return tonumber(counts[1] or 0) - tonumber(counts[2] or 0)
end

local request, version = ARGV[1], ARGV[2]
local here = call('GET', 'schema')
if here ~= version then return {2, here or ''} end
if request ~= '' then
  local before = call('GET', 'request:' .. request)
  if before then
    -- A write, so that who waits for the replicas now waits for all that was written before it.
    call('EXPIRE', 'request:' .. request, REMEMBERED)
    return {1, {before}, changes()}
  end
end
for n, words in ipairs(cmsgpack.unpack(ARGV[5])) do
  local before = table.remove(words, 1)
  local answer = ask(words)
  if digest(answer) ~= before then return {0, n, answer} end
end
if request ~= '' then call('SET', 'request:' .. request, '', 'EX', REMEMBERED) end
local answers = {}
for _, words in ipairs(cmsgpack.unpack(ARGV[6])) do
  local answer = ask(words)
  if ARGV[4] == 'd' then answers[#answers + 1] = digest(answer) end
  answers[#answers + 1] = answer
end
if request ~= '' and type(answers[1]) ~= 'table' and answers[1] then
  call('SET', 'request:' .. request, tostring(answers[1]), 'EX', REMEMBERED)
end
return {1, answers, changes()}
