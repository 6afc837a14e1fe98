// Drives what the upload page can do in a secure context only, in headless Chromium, for scripts/clients/page: says what it sees
// as lines of JSON, and goes on when it is told to. Usage: node page_secure.js '{"module": PATH, "chromium": PATH, "url": URL, …}'
'use strict';

const http = require('node:http');
const path = require('node:path');
const readline = require('node:readline');
const wish = JSON.parse(process.argv[2]);
const { chromium } = require(wish.module);

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const told = async () => (await lines.next()).value;
const until = (page, test, argument) => page.waitForFunction(test, argument, { timeout: 90000, polling: 50 });

async function signIn(page) {
  await page.waitForSelector('#sign-in:not([hidden])');
  await page.fill('#user', wish.user);
  await page.fill('#password', wish.password);
  await page.click('#sign-in button');
  await page.waitForSelector('#work:not([hidden])');
}

// As a phone's share sheet does it: a form that comes from no site, with files.
async function share(page, url, files) {
  await page.goto('about:blank');
  await page.setContent(`<form method="post" enctype="multipart/form-data" action="${url}/upload/share">
    <input type="file" name="files" multiple><button>Share</button></form>`);
  await page.setInputFiles('input', files);
  await Promise.all([page.waitForURL(`${url}/upload*`), page.click('button')]);
  await page.waitForLoadState();
}

const queued = (page) => page.evaluate(async () => (await queue.waiting()).map(({ name, agreed, size }) => ({ name, agreed, size })));
const offered = (page) => page.evaluate(async () => ({
  secure: window.isSecureContext,
  manifest: Boolean(document.querySelector('link[rel=manifest]')),
  worker: Boolean(navigator.serviceWorker && (await navigator.serviceWorker.getRegistrations()).length),
  wakeLock: Boolean(navigator.wakeLock),
}));

async function installing(page) {
  const session = await page.context().newCDPSession(page);
  const manifest = await session.send('Page.getAppManifest');
  const { installabilityErrors } = await session.send('Page.getInstallabilityErrors');
  tell({ manifest: manifest.url, complaints: manifest.errors, installability: installabilityErrors.map((error) => error.errorId) });
}

async function screen(page) {
  const session = await page.context().newCDPSession(page);
  const speed = (bytes) => session.send('Network.emulateNetworkConditions', {
    offline: false, latency: 5, downloadThroughput: -1, uploadThroughput: bytes,
  });
  await page.evaluate(() => { document.getElementById('album').value = 'Awake'; });
  await speed(1_000_000);
  const before = await page.evaluate(() => window.askedFor.length);
  await page.setInputFiles('#photos', wish.awake);
  await until(page, () => window.held);
  const said = await page.isVisible('#awake');
  // The system takes it away when the page is hidden, and the page asks again when it is seen again.
  await page.evaluate(async () => {
    await window.held.release();
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await until(page, () => window.askedFor.length === 2);
  await speed(-1);
  await until(page, () => document.getElementById('count-proved').textContent === '1');
  await until(page, () => window.held.released);
  tell({ screen: await page.evaluate(() => window.askedFor), granted: await page.evaluate(() => window.real), before, said, after: await page.isVisible('#awake') });
}

async function withoutTheBox(context, page) {
  tell({ cut: true });
  await told();
  await page.goto(`${wish.url}/upload`);
  await page.waitForSelector('#banner:not([hidden])');
  tell({ away: await page.textContent('#banner'), title: await page.title(), styled: await page.evaluate(() =>
    getComputedStyle(document.querySelector('.main')).minHeight) });
  await share(page, wish.url, wish.shared);
  await page.waitForSelector('#shared:not([hidden])');
  if (wish.shots) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: path.join(wish.shots, `shared-${colorScheme}.png`), fullPage: true });
    }
  }
  tell({ shared: await page.textContent('#shared-title'), queued: await queued(page), address: page.url() });
  await page.click('#shared-send');
  await until(page, () => document.getElementById('shared-title').textContent.includes('waiting on this phone'));
  tell({ waits: await page.textContent('#shared-hint'), queued: await queued(page), called: await page.isVisible('#progress') });
  await told();
  await signIn(page);
  await until(page, (all) => Number(document.getElementById('count-proved').textContent) === all, wish.shared.length);
  tell({ sent: await page.textContent('#headline'), queued: await queued(page) });
  // One that a person does not want to send.
  await share(page, wish.url, wish.unwanted);
  await page.waitForSelector('#shared:not([hidden])');
  await page.waitForSelector('#work:not([hidden])');
  await page.click('#shared-drop');
  await page.waitForSelector('#shared', { state: 'hidden' });
  tell({ dropped: await queued(page) });
}

// The browser's word to the service worker, with no page open.
async function inTheBackground(context, page) {
  const idle = await context.newPage();
  await share(page, wish.url, wish.background);
  await page.waitForSelector('#shared:not([hidden])');
  await page.evaluate(async () => queue.agree(await queue.waiting(), 'Background'));
  const session = await context.newCDPSession(idle);
  const registered = new Promise((resolve) => {
    session.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => {
      const own = registrations.find((one) => one.scopeURL.startsWith(wish.url) && !one.isDeleted);
      if (own) resolve(own.registrationId);
    });
  });
  await idle.goto(`${wish.url}/health`);
  await session.send('ServiceWorker.enable');
  const registrationId = await registered;
  await page.close();
  await session.send('ServiceWorker.dispatchSyncEvent', { origin: wish.url, registrationId, tag: 'shoebox-queue', lastChance: true });
  tell({ asleep: context.pages().map((one) => one.url()) });
  await told();
  await idle.goto(`${wish.url}/upload`);
  await until(idle, (all) => Number(document.getElementById('count-proved').textContent) === all, wish.background.length);
  await until(idle, async () => (await queue.sent()).length === 0);
  tell({ awoken: await idle.textContent('#headline'), queued: await queued(idle) });
  // One of which the service worker believed so, and the box knows nothing.
  await idle.evaluate(() => queue.acknowledged({ id: 1e6, name: 'ghost.jpg', size: 5 }, { hash: '0'.repeat(64), path: 'anna/x/ghost.jpg' }, 'anna'));
  const answered = idle.waitForResponse((answer) => answer.url().endsWith('/upload/proofs') && answer.ok());
  await idle.reload();
  await answered;
  await until(idle, () => document.querySelector('#list .state'));
  tell({ ghost: await idle.textContent('#list .state'), safe: await idle.textContent('#headline') });
  await idle.evaluate(() => queue.forget(1e6));
  await idle.reload();
  return idle;
}

// In the box's place a server with the same files, but for the page's title, as of another version.
async function anotherVersion(page) {
  const files = new Map();
  const worker = await (await fetch(`${wish.url}/upload/assets/worker.js`)).text();
  const shell = JSON.parse(worker.split('\n', 1)[0].replace('const SHELL = ', '').replace(/;$/, ''));
  for (const file of [...shell.files, '/upload/assets/worker.js']) {
    const answer = await fetch(wish.url + file);
    files.set(file, { headers: Object.fromEntries(answer.headers), body: Buffer.from(await answer.arrayBuffer()) });
  }
  const change = (name, from, to) => {
    const file = files.get(name);
    file.body = Buffer.from(file.body.toString().replace(from, to));
  };
  change('/upload/assets/worker.js', shell.version, '99.0.0-another');
  change('/upload', '<title>Send photos', '<title>Another version');
  tell({ version: shell.version });
  await told();
  const server = http.createServer((request, response) => {
    const file = files.get(request.url);
    const { 'content-length': _, connection: __, ...headers } = file ? file.headers : {};
    response.writeHead(file ? 200 : 503, headers).end(file ? file.body : '');
  });
  await new Promise((resolve) => { server.listen(Number(new URL(wish.url).port), '127.0.0.1', resolve); });
  await page.goto(`${wish.url}/upload`);
  await page.waitForFunction(() => document.title.startsWith('Another version'), null, { timeout: 60000, polling: 50 });
  await until(page, async () => (await caches.keys()).length === 1);
  tell({ title: await page.title(), caches: await page.evaluate(() => caches.keys()) });
  server.closeAllConnections();
  await new Promise((resolve) => { server.close(resolve); });
  await told();
}

async function overPlainHttp(context) {
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  await share(page, wish.plain, wish.plainFiles);
  tell({ lost: await page.textContent('#lost'), shown: await page.isVisible('#lost'), address: page.url() });
  await page.reload();
  await page.waitForSelector('#sign-in:not([hidden])');
  tell({ hidden: !(await page.isVisible('#lost')) });
  await signIn(page);
  await page.fill('#album', 'Plain');
  await page.setInputFiles('#photos', wish.plainFiles);
  await until(page, (all) => Number(document.getElementById('count-proved').textContent) === all, wish.plainFiles.length);
  tell({ plain: await offered(page), headline: await page.textContent('#headline'), complaints });
}

(async () => {
  const context = await chromium.launchPersistentContext(wish.profile, {
    executablePath: wish.chromium, viewport: { width: 390, height: 844 },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-component-update', '--disable-sync',
      // A name that homes use, over plain HTTP: no secure context, unlike addresses that begin with 127.
      '--host-resolver-rules=MAP shoebox.local 127.0.0.1'],
  });
  // What is asked of the system is noted. A machine without a screen may not grant it: then something stands in for its answer.
  await context.addInitScript(() => {
    window.askedFor = [];
    if (!navigator.wakeLock) return;
    const real = navigator.wakeLock.request.bind(navigator.wakeLock);
    const standIn = () => {
      const lock = new EventTarget();
      lock.released = false;
      lock.release = async () => {
        lock.released = true;
        lock.dispatchEvent(new Event('release'));
      };
      return lock;
    };
    navigator.wakeLock.request = async (kind) => {
      window.askedFor.push(kind);
      window.held = await real(kind).catch(standIn);
      window.real = !Object.hasOwn(window.held, 'release');
      return window.held;
    };
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) complaints.push(message.text());
  });
  page.on('dialog', (dialog) => dialog.accept());
  await page.goto(`${wish.url}/upload`);
  await signIn(page);
  await until(page, () => navigator.serviceWorker.controller);
  tell({ offered: await offered(page), scope: await page.evaluate(async () => (await navigator.serviceWorker.ready).scope) });
  await installing(page);
  await screen(page);
  await withoutTheBox(context, page);
  const last = await inTheBackground(context, page);
  tell({ kept: await last.evaluate(async () => {
    const all = [];
    for (const name of await caches.keys()) {
      for (const request of await (await caches.open(name)).keys()) all.push(`${name} ${new URL(request.url).pathname}`);
    }
    return all;
  }) });
  await anotherVersion(last);
  await overPlainHttp(context);
  tell({ complaints });
  await context.close();
  process.exit(0);
})().catch((error) => {
  tell({ error: error.message.slice(0, 2000) });
  process.exit(1);
});
