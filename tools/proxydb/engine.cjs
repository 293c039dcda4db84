// Prisma's query engine for the Python client, from npm packages alone: the WebAssembly engine of @prisma/client with
// @prisma/adapter-pg behind the HTTP interface of the binary engine. GraphQL, which the Python client speaks, is
// translated to the JSON protocol, which is all the WebAssembly engine understands.
// npm install --ignore-scripts @prisma/client@5.17.0 @prisma/adapter-pg@5.17.0 @prisma/driver-adapter-utils@5.17.0 pg graphql
const fs = require('fs'), http = require('http'), path = require('path')
if (process.argv.includes('--version')) { console.log('query-engine 393aa359c9ad4a4bb28630fb5613f9c281cde053'); process.exit(0) }
const { parse } = require('graphql')
const { Pool } = require('pg')
const { PrismaPg } = require('@prisma/adapter-pg')
const { bindAdapter } = require('@prisma/driver-adapter-utils')
const runtime = path.join(path.dirname(require.resolve('@prisma/client/package.json')), 'runtime')
const engineModule = require(path.join(runtime, 'query_engine_bg.postgresql.js'))
const port = Number(process.argv[process.argv.indexOf('-p') + 1])
const datamodel = fs.readFileSync(process.env.PRISMA_DML_PATH, 'utf8')
let url = process.env.DATABASE_URL
if (process.env.OVERWRITE_DATASOURCES) { const d = JSON.parse(process.env.OVERWRITE_DATASOURCES); if (d[0] && d[0].url) url = d[0].url }
url = url.replace(/\?.*$/, '')
const models = [...datamodel.matchAll(/^model (\w+)/gm)].map(m => m[1])
const ACTIONS = ['findUnique', 'findFirst', 'findMany', 'createOne', 'createMany', 'updateOne', 'updateMany', 'upsertOne', 'deleteOne', 'deleteMany', 'aggregate', 'groupBy']

// the JSON protocol wants to be told which texts are JSON: those of the fields of that type
const jsonFields = Object.fromEntries([...datamodel.matchAll(/^model (\w+) \{([^]*?)^\}/gm)].map(m => [m[1], new Set([...m[2].matchAll(/^\s+(\w+)\s+Json\b/gm)].map(f => f[1]))]))
function typed(v, names) {
  if (Array.isArray(v)) return v.map(x => typed(x, names))
  if (!v || typeof v !== 'object') return v
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, names.has(k) && typeof x === 'string' ? { $type: 'Json', value: x } : typed(x, names)]))
}
function value(n) {
  switch (n.kind) {
    case 'IntValue': { const i = Number(n.value); return Number.isSafeInteger(i) ? i : { $type: 'BigInt', value: n.value } }
    case 'FloatValue': return Number(n.value)
    case 'StringValue': case 'EnumValue': return n.value
    case 'BooleanValue': return n.value
    case 'NullValue': return null
    case 'ListValue': return n.values.map(value)
    case 'ObjectValue': return Object.fromEntries(n.fields.map(f => [f.name.value, value(f.value)]))
  }
  throw new Error('unknown value ' + n.kind)
}
// the adapter knows no name[]
const known = a => { if (a.query) a.query = a.query.replace(/ARRAY_AGG\(viewname\)/g, 'ARRAY_AGG(viewname::text)'); return a }
const args = f => Object.fromEntries((f.arguments || []).map(a => [a.name.value, value(a.value)]))
function selection(set) {
  const out = {}
  for (const f of (set ? set.selections : [])) {
    out[f.name.value] = f.selectionSet ? { arguments: args(f), selection: selection(f.selectionSet) } : true
  }
  return out
}
function translate(field) {
  const name = field.name.value
  if (name === 'queryRaw' || name === 'executeRaw') return { action: name, query: { arguments: known(args(field)), selection: {} } }
  let base = name, suffix = ''
  if (base.endsWith('OrThrow')) { suffix = 'OrThrow'; base = base.slice(0, -7) }
  for (const a of ACTIONS) for (const m of models) if (base === a + m) {
    return { modelName: m, action: a + suffix, query: { arguments: typed(args(field), jsonFields[m]), selection: selection(field.selectionSet) } }
  }
  throw new Error('unknown operation ' + name)
}
const json = c => { try { return typeof c === 'string' ? JSON.parse(c) : c } catch { return c } }
function plain(v) {
  if (v && Array.isArray(v.columns) && Array.isArray(v.types) && Array.isArray(v.rows)) {  // a raw result: JSON comes as text
    return { ...v, rows: v.rows.map(r => r.map((c, i) => v.types[i] === 'json' ? json(c) : v.types[i] === 'json-array' && Array.isArray(c) ? c.map(json) : c)) }
  }
  if (Array.isArray(v)) return v.map(plain)
  if (v && typeof v === 'object') {
    if ('$type' in v) return plain(v.value)
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, plain(x)]))
  }
  return v
}
const fields = doc => parse(doc).definitions[0].selectionSet.selections
async function main() {
  const wasm = new WebAssembly.Module(fs.readFileSync(path.join(runtime, 'query_engine_bg.postgresql.wasm')))
  const instance = new WebAssembly.Instance(wasm, { './query_engine_bg.js': engineModule })
  engineModule.__wbg_set_wasm(instance.exports)
  const adapter = bindAdapter(new PrismaPg(new Pool({ connectionString: url, max: 10 })))
  const engine = new engineModule.QueryEngine({ datamodel, logLevel: 'error', logQueries: false, ignoreEnvVarErrors: true, datasourceOverrides: {}, configDir: '.', env: { ...process.env }, engineProtocol: 'json', nativeConfig: null }, m => { if (process.env.SHIM_LOG) console.error(m) }, adapter)
  await engine.connect('{}')
  const run = async (op, tx) => JSON.parse(await engine.query(JSON.stringify(op), '{}', tx || undefined))
  const trace = process.env.SHIM_LOG
  async function query(body, tx) {
    if (body.batch) {
      const ops = body.batch.flatMap(b => fields(b.query).map(f => [f, translate(f)]))
      const out = await run({ batch: ops.map(o => o[1]), transaction: body.transaction ? { isolationLevel: null } : undefined }, tx)
      if (out.errors) return out
      return { batchResult: (out.batchResult || []).map((r, i) => r.errors ? r : { data: { result: plain(Object.values(r.data)[0]) } }) }
    }
    const sel = fields(body.query)
    if (sel.length === 1) {
      const out = await run(translate(sel[0]), tx)
      if (out.errors) return out
      return { data: { [(sel[0].alias || sel[0].name).value]: plain(Object.values(out.data)[0]) } }
    }
    const out = await run({ batch: sel.map(translate), transaction: { isolationLevel: null } }, tx)
    if (out.errors) return out
    const data = {}
    sel.forEach((f, i) => { const r = out.batchResult[i]; if (r.errors) throw Object.assign(new Error('batch'), { payload: r }); data[(f.alias || f.name).value] = plain(Object.values(r.data)[0]) })
    return { data }
  }
  http.createServer((req, res) => {
    let raw = ''
    req.on('data', d => raw += d)
    req.on('end', async () => {
      let out
      try {
        const u = req.url
        if (u === '/status') out = { status: 'ok' }
        else if (u.startsWith('/metrics')) out = JSON.parse(await engine.metrics(JSON.stringify({ format: 'json' })).catch(() => '{}'))
        else if (u === '/transaction/start') out = JSON.parse(await engine.startTransaction(raw, '{}'))
        else if (u.startsWith('/transaction/')) {
          const [, , id, what] = u.split('/')
          out = JSON.parse(await (what === 'commit' ? engine.commitTransaction(id, '{}') : engine.rollbackTransaction(id, '{}')))
        } else out = await query(JSON.parse(raw), req.headers['x-transaction-id'])
      } catch (e) {
        out = e.payload || { errors: [{ error: String(e && e.message || e), user_facing_error: { is_panic: false, message: String(e && e.message || e), meta: {}, error_code: 'P2010' } }] }
      }
      if (trace && (out.errors || trace === '2')) console.error(raw.slice(0, 600), JSON.stringify(out).slice(0, 600))
      const text = JSON.stringify(out)
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
      res.end(text)
    })
  }).listen(port, 'localhost')
}
process.on('SIGINT', () => process.exit(0)); process.on('SIGTERM', () => process.exit(0))
main().catch(e => { console.error('shim', e); process.exit(1) })
