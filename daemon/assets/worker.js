// The page's service worker: keeps the page's own files, takes what is shared with it, and sends that when the box answers.
'use strict';

// The first line is the server's: SHELL, the version of the program and the files that the page is made of. Nothing else is
// kept: what the box says of photos is asked anew each time.
//
// tus-js-client looks there for a page's storage, and finds none.
self.window = self;
importScripts('/upload/assets/vendor/tus-js-client/tus.min.js', '/upload/assets/taken.js', '/upload/assets/sending.js',
  '/upload/assets/queue.js');

const KEPT = `shoebox-${SHELL.version}`;
const SHARE = '/upload/share';
// The page that was opened by what was shared comes first: it shows how far each photo is.
const AFTER = 2000;

// --- the page's files, all of one version

self.addEventListener('install', (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(KEPT);
    await cache.addAll(SHELL.files.map((file) => new Request(file, { cache: 'reload' })));
    await self.skipWaiting();
  })());
});

self.addEventListener('activate', (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith('shoebox-') && name !== KEPT) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (origin !== self.location.origin) return;
  if (request.method === 'POST' && pathname === SHARE) event.respondWith(take(request));
  else if (request.method === 'GET' && SHELL.files.includes(pathname)) event.respondWith(own(pathname, request));
  // All else is the box's to answer.
});

async function own(path, request) {
  const cache = await caches.open(KEPT);
  return await cache.match(path) || fetch(request);
}

// --- what is shared

async function take(request) {
  let became;
  try {
    const form = await request.formData();
    const files = form.getAll('files').filter((file) => file instanceof File && file.size > 0);
    if (files.length > 0) await queue.add(files);
    became = files.length > 0 ? 'taken' : 'nothing';
  } catch (e) {
    became = e && e.name === 'QuotaExceededError' ? 'full' : 'lost';
  }
  return Response.redirect(`/upload?shared=${became}`, 303);
}

// --- sending it while no page is open

self.addEventListener('sync', (event) => {
  if (event.tag === queue.TAG) event.waitUntil(sendAll());
});

// What is not done is an error: then the browser asks again later, as often as it sees fit.
async function sendAll() {
  await new Promise((resolve) => { setTimeout(resolve, AFTER); });
  const left = await navigator.locks.request(queue.LOCK, { ifAvailable: true }, (lock) => (lock ? sendReady() : 'a page sends it'));
  if (left) throw new Error(left);
}

// Why something is left that a later attempt may send; else nothing.
async function sendReady() {
  const answer = await fetch('/upload/session', { credentials: 'same-origin', cache: 'no-store' });
  // Signing in takes a person: at the next opening of the page.
  if (answer.status === 401) return '';
  if (!answer.ok) return `the box cannot take photos (${answer.status})`;
  const { person } = await answer.json();
  for (const entry of await queue.waiting()) {
    if (!queue.isReady(entry, person)) continue;
    try {
      await queue.acknowledged(entry, await send(entry), person);
    } catch (e) {
      const status = e && e.originalResponse ? e.originalResponse.getStatus() : 0;
      if (sending.isGone(status)) await queue.begun(entry.id, '');
      // No room, or nobody signed in any more: the page says so.
      if (status === 507 || status === 401) return '';
      // What may heal waits for the next attempt.
      if (!sending.isFinal(status)) return (e && e.message) || 'not sent';
      await queue.refused(entry.id);
    }
  }
  return '';
}

async function send(entry) {
  const { file } = entry;
  const told = await sending.metadata(file, entry.album, 0, entry.came);
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(file, {
      ...sending.options(file, told),
      httpStack: { createRequest: (method, url) => new Asked(method, url), getName: () => 'fetch' },
      storeFingerprintForResuming: false,
      uploadUrl: entry.url || null,
      onUploadUrlAvailable: () => { if (file.size > sending.PIECE) queue.begun(entry.id, upload.url).catch(() => {}); },
      onSuccess: ({ lastResponse }) => {
        try { resolve(sending.acknowledged(lastResponse)); } catch (e) { reject(e); }
      },
      onError: reject,
    });
    upload.start();
  });
}

// A request as tus-js-client makes them, by fetch: a service worker has no other.
class Asked {
  constructor(method, url) {
    this.method = method;
    this.url = url;
    this.headers = {};
    this.end = new AbortController();
  }

  getMethod() { return this.method; }

  getURL() { return this.url; }

  setHeader(name, value) { this.headers[name] = value; }

  getHeader(name) { return this.headers[name]; }

  setProgressHandler() { /* fetch does not say how far it is */ }

  async send(body = null) {
    const answer = await fetch(this.url, {
      method: this.method, headers: this.headers, body, credentials: 'same-origin', cache: 'no-store', signal: this.end.signal,
    });
    const text = await answer.text();
    return {
      getStatus: () => answer.status, getHeader: (name) => answer.headers.get(name), getBody: () => text, getUnderlyingObject: () => answer,
    };
  }

  abort() {
    this.end.abort();
    return Promise.resolve();
  }

  getUnderlyingObject() { return null; }
}
