// Sets a box up in headless Chromium, for scripts/clients/setup: says what it sees as lines of JSON.
// Usage: node setup.js '{"modules": PATH, "chromium": PATH, "url": URL, "secret": PASSWORD, "shots": PATH}'
'use strict';

const path = require('node:path');
const wish = JSON.parse(process.argv[2]);
const need = (name) => require(path.join(wish.modules, name));
const { chromium } = need('playwright-core');
const jsqr = need('jsqr');
const { PNG } = need('pngjs');
const { PHONE, start, camera } = require('./chromium.js');

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

(async () => {
  const browser = await start(chromium, wish.chromium);
  const context = await browser.newContext(PHONE);
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  const elsewhere = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(wish.url)) elsewhere.push(request.url());
  });
  const shot = camera(page, wish.shots);
  const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  // What a camera would read from the screen.
  const scan = async () => {
    const picture = PNG.sync.read(await page.locator('.code').screenshot());
    const found = jsqr(new Uint8ClampedArray(picture.data), picture.width, picture.height);
    return found ? found.data : '';
  };

  await page.goto(`${wish.url}/`);
  tell({ led: page.url() });
  await page.waitForFunction(() => document.querySelectorAll('.drive button').length === 2);
  tell({ drives: await page.locator('.drive').count() });
  await shot('drives');
  const adopted = [];
  for (const name of ['Drive A', 'Drive B']) {
    const form = page.locator('.drive form').first();
    if (await form.locator('input[name=fresh]').count()) await form.locator('input[name=fresh]').check();
    await form.locator('button').tap();
    await page.waitForFunction((name) => document.body.textContent.includes(`${name} (`), name);
    adopted.push(name);
  }
  tell({ adopted });

  await shot('claim');
  await page.fill('#name', 'clara');
  await page.fill('#password', wish.secret);
  await page.fill('#again', 'something-else');
  await page.getByRole('button', { name: 'This box is mine' }).tap();
  await page.waitForSelector('.bad');
  tell({ refused: [await page.inputValue('#name'), (await page.textContent('.bad')).includes('two different') ] });
  await page.fill('#password', wish.secret);
  await page.fill('#again', wish.secret);
  await page.getByRole('button', { name: 'This box is mine' }).tap();
  await page.waitForSelector('#whose');
  tell({ hers: await page.textContent('h1') });
  await shot('hers');
  let widest = await overflow();

  const codes = [];
  let cards = 0;
  for (const [name, app] of [['Pixel 8', 'nextcloud'], ['old phone', 'webdav']]) {
    await page.fill('#phone', name);
    await page.locator(`input[name=app][value=${app}]`).check();
    await page.getByRole('button', { name: 'Show the code for it' }).tap();
    await page.waitForSelector('table');
    cards += 1;
    if (await page.locator('.code').count()) codes.push(await scan());
    if (app === 'nextcloud') tell({ link: await page.getAttribute('#here', 'href') });
    widest = Math.max(widest, await overflow());
    await shot(`card-${app}`);
  }
  tell({ cards, codes, overflow: Math.max(0, widest) });
  tell({ scripts: await page.locator('script').count(), elsewhere });

  const other = await (await browser.newContext(PHONE)).newPage();
  await other.goto(`${wish.url}/setup`);
  tell({ stranger: (await other.textContent('main')).trim() });
  await browser.close();
})().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
