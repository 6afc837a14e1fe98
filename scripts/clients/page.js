// Drives the upload page in headless Chromium, for scripts/clients/page: says what it sees as lines of JSON, and goes on when it
// is told to. Usage: node page.js '{"module": PATH, "chromium": PATH, "url": URL, …}'
'use strict';

const readline = require('node:readline');
const wish = JSON.parse(process.argv[2]);
const { chromium } = require(wish.module);
const { PHONE, start, camera } = require('./chromium.js');

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const told = async () => (await lines.next()).value;

(async () => {
  const browser = await start(chromium, wish.chromium);
  const context = await browser.newContext(PHONE);
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  const complaints = [];
  const elsewhere = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    // What the box refuses is shown by the browser as an error, too.
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) complaints.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(wish.url)) elsewhere.push(request.url());
  });
  page.on('dialog', (dialog) => dialog.accept());
  const shot = camera(page, wish.shots);
  const count = async (id) => Number(await page.textContent(`#count-${id}`));
  const until = (test, argument) => page.waitForFunction(test, argument, { timeout: 60000, polling: 50 });
  const counts = async () => ({
    stored: await count('stored'), there: await count('there'), proved: await count('proved'), failed: await count('failed'),
    headline: await page.textContent('#headline'),
  });

  // --- signing in
  await page.goto(`${wish.url}/upload`);
  await page.waitForSelector('#sign-in:not([hidden])');
  await shot('sign-in');
  await page.fill('#user', wish.user);
  await page.fill('#password', 'not-the-password');
  await page.tap('#sign-in button');
  await page.waitForSelector('#banner:not([hidden])');
  tell({ refused: await page.textContent('#banner'), signed_in: await page.isVisible('#work') });
  await page.fill('#password', wish.password);
  await page.tap('#sign-in button');
  await page.waitForSelector('#work:not([hidden])');
  tell({ who: await page.textContent('#person'), cookie_for_scripts: await page.evaluate(() => document.cookie) });
  await page.tap('#about-iphone summary');
  await page.fill('#album', 'Holidays');
  await shot('ready');
  tell({ where: await page.textContent('#where') });

  // --- many files, slowly, and the server goes in the middle
  const slow = await context.newCDPSession(page);
  const speed = (bytes) => slow.send('Network.emulateNetworkConditions', {
    offline: false, latency: 5, downloadThroughput: -1, uploadThroughput: bytes,
  });
  await speed(4_000_000);
  await page.setInputFiles('#photos', wish.files);
  await until(() => Number(document.getElementById('count-stored').textContent) >= 6);
  await shot('sending');
  tell({ cut: await counts() });
  await told();
  await page.waitForSelector('#failed:not([hidden])');
  await until(() => document.querySelectorAll('#list li[data-state=sending], #list li[data-state=pausing]').length === 0);
  await shot('failed');
  tell({ failed: await counts(), banner: await page.textContent('#banner'), rows: await page.locator('#failed-list li').count() });
  await told();
  await speed(-1);
  const before = await counts();
  await page.locator('#failed-list button').first().tap();
  await until((safe) => Number(document.getElementById('count-stored').textContent) +
    Number(document.getElementById('count-there').textContent) > safe, before.stored + before.there);
  tell({ one: await counts() });
  await page.tap('#retry-all');
  await until((all) => Number(document.getElementById('count-proved').textContent) === all, wish.files.length);
  await shot('done');
  tell({ done: await counts(), names: await page.locator('#list .name').allTextContents(),
    states: await page.locator('#list .state').allTextContents() });

  // --- the same again, and one without an album
  const there = await count('there');
  await page.setInputFiles('#files', wish.files);
  await until((all) => Number(document.getElementById('count-there').textContent) === all, there + wish.files.length);
  await page.fill('#album', '');
  await page.setInputFiles('#photos', [wish.dated]);
  await until((all) => Number(document.getElementById('count-proved').textContent) === all, 2 * wish.files.length + 1);
  tell({ again: await counts() });

  // --- no room left for this person
  tell({ quota: true });
  await told();
  await page.setInputFiles('#photos', [wish.large, wish.dated]);
  await page.waitForSelector('#banner:not([hidden])');
  tell({ full: await page.textContent('#banner'), counts: await counts() });

  // --- for fingers, readers and narrow screens
  tell({ layout: await page.evaluate(() => {
    const shown = [...document.querySelectorAll('button, .button, input:not(.pick), summary')].filter((e) => e.offsetParent);
    return {
      wide: document.documentElement.scrollWidth - window.innerWidth,
      small: shown.filter((e) => e.getBoundingClientRect().height < 44).map((e) => e.id || e.textContent),
      nameless: [...document.querySelectorAll('input, progress')].filter((e) =>
        !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')).map((e) => e.id),
    };
  }) });
  await page.keyboard.press('Tab');
  await page.tap('#sign-out');
  await page.waitForSelector('#sign-in:not([hidden])');
  tell({ left: await page.evaluate(() => fetch('/upload/session').then((answer) => answer.status)) });
  tell({ complaints, elsewhere });
  await browser.close();
  process.exit(0);
})().catch((error) => {
  tell({ error: error.message.slice(0, 2000) });
  process.exit(1);
});
