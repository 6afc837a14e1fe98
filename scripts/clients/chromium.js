// Headless Chromium at a phone's width, for the suites in this folder that drive pages: how it is started, and pictures of a page.
'use strict';

const path = require('node:path');

// Nothing that it would ask of its maker's servers.
const ALONE = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

// What a browser on a phone says of itself.
const PHONE = {
  viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'light', locale: 'en-GB',
};

// Playwright's `chromium`, started; `more`: other arguments.
const start = (chromium, executablePath, more = []) => chromium.launch({ executablePath, args: [...ALONE, ...more] });

// A function that keeps pictures of `page`, light and dark, in `folder`; none, where there is no folder.
const camera = (page, folder) => async (name) => {
  if (!folder) return;
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: path.join(folder, `${name}-${colorScheme}.png`), fullPage: true });
  }
  await page.emulateMedia({ colorScheme: 'light' });
};

module.exports = { PHONE, start, camera };
