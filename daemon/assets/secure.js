// What the page can do in a secure context only: keep the screen on, open without the box, and take what is shared with it.
'use strict';

// Over plain HTTP all of it does nothing, and the page is what it was.
const secure = (() => {
  const shared = new URLSearchParams(location.search).get('shared');
  // A reload asks for the page, not for what was shared once more.
  if (location.pathname !== '/upload' || location.search) history.replaceState(null, '', '/upload');
  if (!window.isSecureContext) {
    return { begin() {}, entered() {}, left() {}, busy() {}, hold: async () => true, begun() {}, refused() {}, acknowledged() {}, confirmed() {}, show() {} };
  }
  const $ = (id) => document.getElementById(id);
  const BECAME = {
    full: 'What was shared was not kept: this phone has no room for it here. It is still where it was: choose it below, and it is sent at once.',
    lost: 'What was shared was not kept: the browser could not hand it over. It is still where it was: choose it below.',
    nothing: 'Nothing was shared that could be sent: only files are taken.',
  };
  // The page's own part: see begin().
  let page = null;
  let person = '';
  let hadWorker = false;

  // --- the screen stays on while photos are sent

  let screen = null;
  let wanted = false;
  let asking = false;
  let refused = false;

  async function stayAwake() {
    if (!wanted && screen) await screen.release();
    if (!wanted || screen || asking || refused || !navigator.wakeLock || document.hidden) return;
    asking = true;
    try {
      screen = await navigator.wakeLock.request('screen');
      $('awake').hidden = false;
      screen.addEventListener('release', () => {
        screen = null;
        $('awake').hidden = true;
      });
    } catch (e) {
      // To spare its battery, say: it goes dark as ever, and the page says what that means.
      refused = true;
    }
    asking = false;
    if (!wanted && screen) await screen.release();
  }

  function busy(is) {
    if (wanted === is) return;
    wanted = is;
    refused = false;
    stayAwake();
  }

  // The phone takes it away while the page is not looked at.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return leaveToWorker();
    refused = false;
    return stayAwake();
  });

  // --- one sends at a time: the page or the service worker

  let release = null;
  let taking = null;

  function lock() {
    if (release || !navigator.locks) return Promise.resolve();
    taking = taking || new Promise((resolve, reject) => {
      navigator.locks.request(queue.LOCK, () => new Promise((end) => {
        release = end;
        taking = null;
        resolve();
      })).catch(reject);
    });
    return taking;
  }

  // Before a shared photo is sent. False: the service worker has sent it meanwhile.
  async function hold(item) {
    if (!item.shared) return true;
    await lock();
    const entry = await queue.find(item.shared);
    if (entry) return true;
    const sent = (await queue.sent()).find((one) => one.id === item.shared);
    if (sent) Object.assign(item, { state: 'asking', hash: sent.hash, path: sent.path, sent: sent.size });
    return !sent;
  }

  function letGo() {
    if (!release || page.items.some((item) => item.shared && ['waiting', 'sending', 'pausing'].includes(item.state))) return;
    release();
    release = null;
  }

  // Where the browser has no such thing, the next opening of the page sends what is left.
  async function leaveToWorker() {
    try {
      const ready = (await queue.waiting()).some((entry) => entry.agreed);
      const registration = ready && await navigator.serviceWorker.getRegistration('/upload');
      if (registration && registration.sync) await registration.sync.register(queue.TAG);
    } catch (e) { /* as if there were none */ }
  }

  // --- what was shared

  const size = (entries) => page.size(entries.reduce((sum, entry) => sum + entry.size, 0));
  const files = (n) => (n === 1 ? '1 file' : `${n} files`);

  async function show() {
    const all = (await queue.waiting()).filter(isNew);
    const open = all.filter((entry) => !entry.agreed);
    const ready = all.filter((entry) => (person ? queue.isReady(entry, person) : entry.agreed));
    $('shared').hidden = open.length + ready.length === 0;
    $('shared-send').hidden = open.length === 0;
    const some = open.length > 0 ? open : ready;
    $('shared-title').textContent = open.length > 0
      ? `${files(open.length)} shared with this page (${size(open)})`
      : `${files(ready.length)} waiting on this phone (${size(ready)})`;
    $('shared-hint').textContent = open.length > 0
      ? `Not in the box yet. ${page.album() ? `They go to ${page.album()}` : 'Each goes to the month it was taken in'}.`
      : 'Not in the box yet. Sent as soon as the box answers and you are signed in; until then they are on this phone only.';
    $('shared-drop').onclick = async () => {
      await queue.drop(some);
      await show();
    };
    $('shared-send').onclick = async () => {
      await queue.agree(open, page.album());
      if (navigator.storage && navigator.storage.persist) navigator.storage.persist().catch(() => {});
      await show();
      if (person) await pickUp(); else await leaveToWorker();
    };
  }

  // Of what the service worker sent while no page was open: the box is asked whether it has it.
  async function showSent() {
    const sent = (await queue.sent()).filter((one) => one.person === person).filter(isNew);
    if (sent.length > 0) page.addSent(sent);
  }

  // Asked in the same step as it is listed: this may be under way twice.
  const isNew = ({ id }) => !page.items.some((item) => item.shared === id);

  async function pickUp() {
    try {
      await showSent();
      if ((await queue.waiting()).some((entry) => queue.isReady(entry, person))) {
        await lock();
        // Read again: while the page waited for the lock, the service worker may have sent some.
        await showSent();
        const ready = (await queue.waiting()).filter((entry) => queue.isReady(entry, person));
        page.addShared(ready.filter(isNew));
        letGo();
      }
      await show();
    } catch (e) {
      page.tell('What was shared cannot be read on this phone at the moment. Close this page and open it again.');
    }
  }

  // --- being kept, and being installed

  async function register() {
    const link = document.createElement('link');
    link.rel = 'manifest';
    link.href = '/upload/assets/upload.webmanifest';
    document.head.append(link);
    if (!navigator.serviceWorker) return;
    hadWorker = Boolean(navigator.serviceWorker.controller);
    navigator.serviceWorker.addEventListener('controllerchange', () => {
      // The box has a new version. Nothing that a person has begun is taken away for it.
      if (hadWorker && page.items.length === 0 && $('shared').hidden && !$('password').value) location.reload();
      hadWorker = true;
    });
    try {
      await navigator.serviceWorker.register('/upload/assets/worker.js', { scope: '/upload', updateViaCache: 'none' });
    } catch (e) { /* the browser does not want it, or does not know the box's certificate: all else goes on */ }
  }

  return {
    // `own`: items, album(), size(bytes), tell(text), addShared(entries), addSent(records).
    begin(own) {
      page = own;
      if (BECAME[shared]) page.tell(BECAME[shared]);
      register();
      show().catch(() => {});
      window.addEventListener('pagehide', leaveToWorker);
    },
    entered(who) {
      person = who;
      queue.setPerson(who).then(pickUp, () => {});
    },
    left() {
      person = '';
      queue.setPerson('').catch(() => {});
    },
    busy(is) {
      busy(is);
      letGo();
    },
    hold,
    begun(item) { if (item.shared) queue.begun(item.shared, item.url).catch(() => {}); },
    refused(item) { if (item.shared) queue.refused(item.shared).catch(() => {}); },
    // The box said that it has it.
    acknowledged(item) { if (item.shared) queue.drop([{ id: item.shared }]).catch(() => {}); },
    // The box said so of one that the service worker sent.
    confirmed(item) { queue.forget(item.shared).catch(() => {}); },
    show: () => show().catch(() => {}),
  };
})();
