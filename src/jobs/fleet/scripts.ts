/**
 * What Redis does in one piece: conditions and changes that no other server may come between. Each script says
 * what its keys and arguments are. Numbers of events begin with 0, identifiers of a stream with `0-1`.
 */

/** What a script says in place of a number. */
export const TAKEN = -1

/** Whose the job is: the token of the last one that took it; '' before anyone has. */
const OWNER = "redis.call('HGET', KEYS[1], 'owner')"

/**
 * KEYS: job, events, open, ended, weights, characters, controls, clients.
 * ARGV: token, first number, record or '', characters of the record, time of its deletion or '', milliseconds from now
 * until then, checkpoint or '', channel of news, id, client, most events of the stream, the control in hand that
 * is in the record or '', model, then the events.
 * Returns TAKEN where another owns the job, or it has ended; the number of events that there were where some before
 * the first number are missing, as -2 - number; else how many unfinished jobs its client has.
 */
export const WRITE = `
local token, from = ARGV[1], tonumber(ARGV[2])
local owner = ${OWNER}
local fresh = not owner
if fresh then
  if ARGV[3] == '' or from > 0 then return ${TAKEN} end
  redis.call('HSET', KEYS[1], 'owner', '', 'client', ARGV[10], 'model', ARGV[13])
  owner = ''
end
if owner ~= token or redis.call('HEXISTS', KEYS[1], 'expires') == 1 then return ${TAKEN} end
local length = tonumber(redis.call('HGET', KEYS[1], 'length') or '0')
if from > length then return -2 - length end
local added = 0
for i = 14 + length - from, #ARGV do
  length = length + 1
  added = added + #ARGV[i]
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[11], '0-' .. length, 'e', ARGV[i])
end
redis.call('HSET', KEYS[1], 'length', length)
if ARGV[3] ~= '' then
  added = added + tonumber(ARGV[4]) - tonumber(redis.call('HGET', KEYS[1], 'size') or '0')
  redis.call('HSET', KEYS[1], 'record', ARGV[3], 'size', ARGV[4])
end
if added ~= 0 then
  redis.call('ZINCRBY', KEYS[5], added, ARGV[9])
  redis.call('INCRBY', KEYS[6], added)
end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'checkpoint', ARGV[7], 'tries', 0) end
if ARGV[12] ~= '' and redis.call('HGET', KEYS[1], 'control') == ARGV[12] then
  redis.call('HDEL', KEYS[1], 'control')
end
local outstanding = 0
if fresh and ARGV[5] == '' then
  redis.call('ZADD', KEYS[3], redis.call('TIME')[1], ARGV[9])
  outstanding = redis.call('HINCRBY', KEYS[8], ARGV[10], 1)
end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'expires', ARGV[5])
  redis.call('HDEL', KEYS[1], 'checkpoint')
  redis.call('DEL', KEYS[7])
  if redis.call('ZREM', KEYS[3], ARGV[9]) == 1 and redis.call('HINCRBY', KEYS[8], ARGV[10], -1) <= 0 then
    redis.call('HDEL', KEYS[8], ARGV[10])
  end
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[9])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
redis.call('PUBLISH', ARGV[8], length)
return outstanding
`

/**
 * KEYS: job, lock. ARGV: token, what the lock must hold.
 * From now on the job is that token's. Returns TAKEN where the lock holds something else, or there is no such job;
 * else how often it was taken since its last checkpoint.
 */
export const TAKE = `
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] or not ${OWNER} then return ${TAKEN} end
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
return redis.call('HINCRBY', KEYS[1], 'tries', 1)
`

/**
 * KEYS: job, controls. ARGV: control, channel, id.
 * Leaves a control for whoever runs the job. Returns TAKEN where it has ended or does not exist.
 */
export const CONTROL = `
if not ${OWNER} or redis.call('HEXISTS', KEYS[1], 'expires') == 1 then return ${TAKEN} end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 0
`

/**
 * KEYS: job, controls. ARGV: token.
 * Takes the oldest control in hand, or gives the one that is in hand: whoever takes the job next finds it there,
 * unless the record has it. Returns TAKEN where another owns the job; '' where there is none.
 */
export const TAKE_CONTROL = `
if ${OWNER} ~= ARGV[1] then return ${TAKEN} end
local control = redis.call('HGET', KEYS[1], 'control')
if control then return control end
control = redis.call('LPOP', KEYS[2])
if not control then return '' end
redis.call('HSET', KEYS[1], 'control', control)
return control
`

/** KEYS: job. ARGV: token, control. It is in hand no more. Returns TAKEN where another owns the job. */
export const DROP_CONTROL = `
if ${OWNER} ~= ARGV[1] then return ${TAKEN} end
if redis.call('HGET', KEYS[1], 'control') == ARGV[2] then redis.call('HDEL', KEYS[1], 'control') end
return 0
`

/**
 * KEYS: job, events, open, ended, weights, characters, controls, clients. ARGV: channel of news, id.
 * Deletes all of a job.
 */
export const DELETE = `
local client = redis.call('HGET', KEYS[1], 'client')
local weight = redis.call('ZSCORE', KEYS[5], ARGV[2])
if weight then redis.call('INCRBY', KEYS[6], -tonumber(weight)) end
if redis.call('ZREM', KEYS[3], ARGV[2]) == 1 and client and redis.call('HINCRBY', KEYS[8], client, -1) <= 0 then
  redis.call('HDEL', KEYS[8], client)
end
redis.call('ZREM', KEYS[4], ARGV[2])
redis.call('ZREM', KEYS[5], ARGV[2])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[7])
redis.call('PUBLISH', ARGV[1], -1)
return 0
`
