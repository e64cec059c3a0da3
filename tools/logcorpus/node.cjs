// Writes lines as the loggers of Node.js write them. Run it where the packages are:
//   npm install pino pino-pretty pino-http winston bunyan log4js morgan consola npmlog loglevel express
//   NODE_PATH=node_modules node node.cjs > first-node.txtar
const { Writable } = require('stream');
const { spawnSync } = require('child_process');

const broken = 'cannot load order 4711 from 10.0.0.7:5432';
const template = 'cannot load order <n> from <address>';
const harmless = 'retry worked after ERROR from peer';
const cases = [['error', broken], ['info', harmless], ['warning', broken], ['debug', harmless]];

const out = [];
function member(name, head, lines) {
  out.push(`-- ${name} --\n${head.join('\n')}\n\n${lines.replaceAll('\x1b', '␛').replace(/\n*$/, '\n')}`);
}
function sink() {
  const s = new Writable({ write(chunk, _, done) { s.text += chunk; done(); } });
  s.text = '';
  return s;
}
async function shape(name, frame, write, levels = cases) {
  for (const [level, message] of levels) {
    const s = sink();
    await write(s, level, message);
    if (!s.text) throw new Error(`${name} wrote nothing at ${level}`);
    const head = [`level ${level}`];
    if (level === 'error') head.push('template ' + frame.replace('%s', template));
    member(`${name}, ${level}`, head, s.text);
  }
}
const short = { error: 'error', warning: 'warn', info: 'info', debug: 'debug' };

async function main() {
  const pino = require('pino');
  await shape('pino', '%s', (s, l, m) => pino({ level: 'trace' }, s)[short[l]](m));
  await shape('pino with level labels', '%s', (s, l, m) =>
    pino({ level: 'trace', formatters: { level: (label) => ({ level: label }) } }, s)[short[l]](m));
  await shape('pino-pretty', '[<time>] ERROR (<n>): %s', (s, l, m) => {
    const p = require('pino-pretty')({ colorize: false, destination: s, sync: true });
    pino({ level: 'trace' }, p)[short[l]](m);
    return new Promise((done) => setTimeout(done, 300));
  });
  await shape('pino-pretty in colour', '[<time>] ERROR (<n>): %s', (s, l, m) => {
    const p = require('pino-pretty')({ colorize: true, destination: s, sync: true });
    pino({ level: 'trace' }, p)[short[l]](m);
    return new Promise((done) => setTimeout(done, 300));
  });
  const fatal = sink();
  pino({}, fatal).fatal(broken);
  member('pino, fatal', ['level error', `template ${template}`], fatal.text);

  const winston = require('winston');
  const w = (format) => (s, l, m) => {
    winston.createLogger({ level: 'silly', format, transports: [new winston.transports.Stream({ stream: s })] })[short[l]](m);
    return new Promise((done) => setImmediate(done));
  };
  const f = winston.format;
  await shape('winston, json', '%s', w(f.json()));
  await shape('winston, simple', 'error: %s', w(f.simple()));
  await shape('winston, colorize and simple', 'error: %s', w(f.combine(f.colorize(), f.simple())));
  await shape('winston, colorize and json', '%s', w(f.combine(f.colorize(), f.json())));
  await shape('winston, printf with a time', '<time> error: %s',
    w(f.combine(f.timestamp(), f.printf((i) => `${i.timestamp} ${i.level}: ${i.message}`))));
  await shape('winston, printf with brackets', '<time> [error] %s',
    w(f.combine(f.timestamp(), f.printf((i) => `${i.timestamp} [${i.level}] ${i.message}`))));
  const logstash = sink();
  await w(f.logstash())(logstash, 'error', broken);
  member('winston, logstash', ['level error', 'fields level=@fields.level', `template ${template}`], logstash.text);

  const bunyan = require('bunyan');
  await shape('bunyan', '%s', (s, l, m) =>
    bunyan.createLogger({ name: 'orders', streams: [{ level: 'trace', stream: s }] })[short[l]](m));

  await shape('log4js', '[<time>] [ERROR] orders - %s', (s, l, m) => {
    const log4js = require('log4js');
    const before = process.stdout.write;
    process.stdout.write = (text) => { s.text += text; return true; };
    log4js.configure({ appenders: { out: { type: 'stdout', layout: { type: 'basic' } } },
      categories: { default: { appenders: ['out'], level: 'trace' } } });
    log4js.getLogger('orders')[short[l]](m);
    process.stdout.write = before;
  });
  await shape('npmlog', 'npm ERR! orders %s', (s, l, m) => {
    const log = require('npmlog');
    log.stream = s; log.heading = 'npm'; log.level = 'silly';
    log[{ error: 'error', warning: 'warn', info: 'info', debug: 'verbose' }[l]]('orders', m);
  });
  await shape('consola', '[error] %s', (s, l, m) => {
    const { createConsola } = require('consola');
    createConsola({ stdout: s, stderr: s, level: 5, fancy: false })[short[l]](m);
  });

  // Requests.
  const express = require('express');
  async function request(middleware, s) {
    const app = express();
    app.use(middleware);
    app.get('/api/users/:id', (_, answer) => setTimeout(() => answer.send('ok'), 20));
    const server = await new Promise((up) => { const x = app.listen(0, '127.0.0.1', () => up(x)); });
    await (await fetch(`http://127.0.0.1:${server.address().port}/api/users/42?page=1`)).text();
    await new Promise((done) => setTimeout(done, 100));
    server.close();
    return s.text;
  }
  for (const format of ['combined', 'common', 'dev', 'tiny', 'short']) {
    const s = sink();
    const text = await request(require('morgan')(format, { stream: { write: (x) => { s.text += x; } } }), s);
    const ms = text.match(/ ([0-9.]+) ms/);
    const head = ['level none', 'endpoint /api/users/:id'];
    if (ms) head.push(`duration ${ms[1]}ms`);
    member(`morgan, ${format}`, head, text);
  }
  const s = sink();
  const text = await request(require('pino-http')({}, s), s);
  member('pino-http', ['level info', 'fields path=req.url duration=responseTime', 'endpoint /api/users/:id',
    `duration ${JSON.parse(text).responseTime}ms`], text);

  // What ends a process.
  for (const [name, code, want] of [
    ['node, uncaught error', 'function load() {\n  throw new TypeError("no order 4711");\n}\nload();', 'TypeError at app/x.js:2'],
    ['node, missing module', 'require("no-such-module");', 'Error at app/x.js:1'],
    ['node, rejected promise', 'async function load() {\n  throw new Error("no order 4711");\n}\nload();', 'Error at app/x.js:2'],
    ['node, thrown text', 'throw "text";', 'Uncaught at app/x.js:1'],
    ['node, error with a code', 'const e = new Error("refused"); e.code = "ECONNREFUSED"; e.errno = -111;\nthrow e;', 'Error at app/x.js:2'],
    ['node, error with a cause', 'try { null.x } catch (cause) {\n  throw new RangeError("outer", { cause });\n}', 'RangeError at app/x.js:2'],
    ['node, console.error of an error', 'console.error(new SyntaxError("bad order 4711"));', 'SyntaxError at app/x.js:1'],
    ['node, console.error with words', 'console.error("cannot load", new Error("bad"));', 'Error at app/x.js:1'],
    ['node, syntax error', 'let = ;', 'SyntaxError at app/x.js:1'],
  ]) {
    const dir = require('fs').mkdtempSync('/tmp/node-');
    require('fs').mkdirSync(dir + '/app');
    require('fs').writeFileSync(dir + '/app/x.js', code);
    const r = spawnSync(process.execPath, [dir + '/app/x.js'], { encoding: 'utf8' });
    const head = want ? ['level error', `template ${want}`] : ['level none'];
    member(name, head, r.stderr.replaceAll(dir, '/srv'));
  }
  process.stdout.write('Lines of Node.js and its loggers, written by tools/logcorpus/node.cjs. The character ␛ is escape.\n' + out.join(''));
}
main();
