// A Fastify service with two workers. One prepared statement (pg) checks the token and the owner, changes the account, and writes the rows beside it. It returns how many tokens and how many accounts it found.
const cluster = require('cluster'), fs = require('fs'), path = require('path'), crypto = require('crypto');
if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork();
  process.on('SIGTERM', () => { for (const worker of Object.values(cluster.workers)) worker.process.kill(); process.exit(0); });
} else {
  const { Pool } = require('pg');
  const pool = new Pool({ host: process.env.PGSOCK, port: 5432, user: 'steward', database: process.env.DB, max: 8 });
  const text = fs.readFileSync(path.join(__dirname, 'statement.sql'), 'utf8');
  const fastify = require('fastify')({ logger: false });
  const done = { error: 0, error_text: 'Successful operation' };
  const noToken = { error: 1, error_text: 'Invalid token' }, noAccount = { error: 2, error_text: 'Account not found' };
  const hash = token => crypto.createHash('sha256').update(token).digest();
  const body = { type: 'object', required: ['token', 'id'], properties: { token: { type: 'string' }, id: { type: 'integer' }, frozen_details: { type: 'string' } } };
  const answer = { 200: { type: 'object', properties: { error: { type: 'integer' }, error_text: { type: 'string' } } } };
  fastify.post('/cte', { schema: { body, response: answer } }, async (request) => {
    const { token, id, frozen_details } = request.body;
    const call = () => pool.query({ name: 'freeze', text, values: [hash(token), id, frozen_details], rowMode: 'array' });
    let { rows: [row] } = await call();
    // Another call may have changed the account meanwhile.
    if (row[0] != 0 && row[1] == 0) ({ rows: [row] } = await call());
    return row[0] == 0 ? noToken : row[1] == 0 ? noAccount : done;
  });
  fastify.listen({ port: +process.env.PORT, host: '127.0.0.1' });
}
