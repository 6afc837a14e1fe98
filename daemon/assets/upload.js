// The upload page: what was chosen, how far each file is, and what is proved of it. Files are sent by tus-js-client (../vendor);
// what goes beyond plain HTTP is in secure.js.
'use strict';

(() => {
  // So many files are sent at once.
  const PARALLEL = 2;
  // Pauses before a file is tried again, seconds. After the last it is listed as failed.
  const PAUSES = [1, 2, 4, 8, 15];
  // Between two questions whether drive B has them: from, to, seconds.
  const ASK = [2, 30];

  const $ = (id) => document.getElementById(id);
  const items = [];
  // Held in memory while the page is open, so that a box that was restarted does not interrupt a long upload.
  let known = null;
  let person = '';
  let signedIn = false;
  // Why nothing is sent at the moment, if that is so.
  let stopped = null;
  let asking = 0;
  let askedAt = 0;
  let drawing = false;

  // --- signing in

  async function session(method, body) {
    return fetch('/upload/session', { method, body: body && JSON.stringify(body), credentials: 'same-origin', cache: 'no-store' });
  }

  async function begin() {
    try {
      const answer = await session('GET');
      if (answer.ok) return enter(await answer.json());
      if (answer.status === 401) return leave();
      say(`The box cannot take photos at the moment: ${(await answer.text()).trim()}. Trying again.`);
    } catch (e) {
      say('The box cannot be reached. Trying again.');
    }
    setTimeout(begin, 5000);
  }

  async function signIn(user, password) {
    const answer = await session('POST', { user, password });
    if (answer.ok) {
      known = { user, password };
      enter(await answer.json());
      return answer.status;
    }
    say(answer.status === 401
      ? 'This name and password do not fit. The password is the one of a device, eight groups of four letters.'
      : `The box cannot be used at the moment: ${(await answer.text()).trim()}.`);
    return answer.status;
  }

  function enter(who) {
    say(null);
    signedIn = true;
    person = who.person;
    $('person').textContent = `${who.person} · ${who.device}`;
    $('who').hidden = false;
    $('sign-in').hidden = true;
    $('work').hidden = false;
    showWhere();
    secure.entered(person);
    next();
  }

  function leave() {
    signedIn = false;
    $('who').hidden = true;
    $('work').hidden = true;
    $('sign-in').hidden = false;
    if (!$('user').value) $('user').value = remembered('user');
    $($('user').value ? 'password' : 'user').focus();
  }

  // The box does not know this page any more: it was restarted, or the password was revoked.
  let returning = null;
  function signInAgain() {
    returning = returning || (async () => {
      try {
        // Anything but a clear no is the box's trouble, and the file's own pause comes first.
        if (known && await signIn(known.user, known.password) !== 401) return;
        known = null;
        leave();
      } catch (e) {
        // Not reached: the same.
      } finally {
        returning = null;
      }
    })();
    return returning;
  }

  function say(text) {
    $('banner').textContent = text || '';
    $('banner').hidden = !text;
  }

  // Of what was shared: stays when somebody signs in.
  function tell(text) {
    $('lost').textContent = text;
    $('lost').hidden = false;
  }

  function remembered(key) {
    try { return localStorage.getItem(`shoebox.${key}`) || ''; } catch (e) { return ''; }
  }

  function remember(key, value) {
    try { localStorage.setItem(`shoebox.${key}`, value); } catch (e) { /* a private window: nothing is remembered */ }
  }

  // --- choosing

  function showWhere() {
    const album = $('album').value.trim();
    $('where').textContent = `Goes to photos/${person}/${album || 'the month each was taken'}`;
    secure.show();
  }

  const listed = (file, more) => ({
    file, album: '', state: 'waiting', sent: 0, tries: 0, why: '', hash: '', path: '', url: '', shared: 0, came: 0, onB: null, row: null, ...more,
  });

  async function choose(files) {
    const album = $('album').value.trim();
    for (const file of files) items.push(listed(file, { album }));
    stopped = null;
    say(null);
    // It was read, or will not be: from here on the progress is what matters.
    $('about-iphone').open = false;
    draw();
    next();
  }

  // What was shared with the page and a person agreed to send.
  function addShared(entries) {
    for (const { id, file, album, url, came } of entries) items.push(listed(file, { album, url, came, shared: id }));
    stopped = null;
    draw();
    next();
  }

  // What was sent while no page was open. What the box says of it now is asked, and not what it said then.
  function addSent(records) {
    for (const { id, name, size: bytes, hash, path } of records) {
      items.push(listed({ name, size: bytes }, { state: 'asking', sent: bytes, hash, path, shared: id }));
    }
    draw();
    ask(0);
  }

  // --- sending

  function next() {
    if (!signedIn || stopped) return;
    let busy = items.filter((item) => item.state === 'sending').length;
    for (const item of items) {
      if (busy >= PARALLEL) return;
      if (item.state === 'waiting') {
        busy += 1;
        send(item);
      }
    }
  }

  async function send(item) {
    item.state = 'sending';
    item.why = '';
    draw();
    try {
      if (!await secure.hold(item)) {
        draw();
        ask(0);
        return next();
      }
      if (!item.upload) item.upload = await prepare(item);
      item.upload.start();
    } catch (e) {
      failed(item, e);
    }
  }

  async function prepare(item) {
    const { file, album } = item;
    // Where a shared file's upload is, is written down with the file.
    const large = file.size > sending.PIECE && !item.shared;
    const date = item.shared ? 0 : file.lastModified || Date.now();
    const upload = new tus.Upload(file, {
      ...sending.options(file, await sending.metadata(file, album, date, item.came)),
      storeFingerprintForResuming: large,
      removeFingerprintOnSuccess: true,
      uploadUrl: (item.shared && item.url) || null,
      onUploadUrlAvailable: () => {
        item.url = item.upload ? item.upload.url : item.url;
        if (file.size > sending.PIECE) secure.begun(item);
      },
      onProgress: (sent) => { item.sent = sent; draw(); },
      onSuccess: ({ lastResponse }) => done(item, lastResponse),
      onError: (error) => failed(item, error),
    });
    if (large) {
      const before = await upload.findPreviousUploads();
      const same = before.find((other) => (other.metadata.album || '') === album);
      if (same) upload.resumeFromPreviousUpload(same);
    }
    return upload;
  }

  function done(item, answer) {
    let said;
    try {
      said = sending.acknowledged(answer);
    } catch (error) {
      return failed(item, error);
    }
    item.hash = said.hash;
    item.path = said.path;
    item.state = said.there ? 'there' : 'stored';
    secure.acknowledged(item);
    item.sent = item.file.size;
    item.tries = 0;
    item.upload = null;
    draw();
    next();
    ask(ASK[0]);
  }

  async function failed(item, error) {
    const answer = error && error.originalResponse;
    const status = answer ? answer.getStatus() : 0;
    const words = answer ? (answer.getBody() || '').trim() : '';
    // tus-js-client forgets where the upload is when it is refused to look at it.
    if (item.upload && item.url) item.upload.url = item.url;
    if (status === 401) {
      await signInAgain();
      return again(item, 'signing in again');
    }
    if (!answer && !(await readable(item.file))) {
      return giveUp(item, 'This file can no longer be read on the phone. Choose it again.');
    }
    if (status === 507) {
      giveUp(item, words);
      return stop(`Stopped: ${words}. Nothing more is sent until there is room.`);
    }
    // What no repetition mends.
    if (sending.isFinal(status)) {
      secure.refused(item);
      return giveUp(item, words || `refused (${status})`);
    }
    if (sending.isGone(status)) {
      item.upload = null;
      item.url = '';
      secure.begun(item);
    }
    again(item, status === 503 ? `the box cannot take it at the moment (${words})` : words || 'the box cannot be reached');
  }

  function again(item, why) {
    const pause = PAUSES[item.tries];
    if (pause === undefined) {
      giveUp(item, why);
      return stop(`Stopped after several attempts: ${why}. Retry when the box is back.`);
    }
    item.tries += 1;
    // Spread, so that several phones do not come back in the same moment.
    const wait = pause * (0.8 + 0.4 * Math.random());
    item.state = 'pausing';
    item.why = `${why}; trying again in ${Math.round(wait)} s`;
    draw();
    setTimeout(() => {
      if (item.state !== 'pausing') return;
      item.state = 'waiting';
      next();
      draw();
    }, wait * 1000);
  }

  function giveUp(item, why) {
    item.state = 'failed';
    item.why = why;
    draw();
    next();
  }

  // What has not begun would fare no better: it is listed with what failed, to be sent with one touch.
  function stop(why) {
    stopped = why;
    say(why);
    for (const item of items) {
      if (item.state === 'waiting' || item.state === 'pausing') {
        item.state = 'failed';
        item.why = 'not sent yet';
      }
    }
    draw();
  }

  function retry(some) {
    stopped = null;
    say(null);
    for (const item of some) {
      if (item.state === 'failed') {
        item.state = 'waiting';
        item.tries = 0;
      }
    }
    draw();
    next();
  }

  async function readable(file) {
    try {
      await new Response(file.slice(0, 1)).arrayBuffer();
      return true;
    } catch (e) {
      return false;
    }
  }

  // --- what is proved

  function ask(seconds) {
    // Not put off by every file that is done meanwhile.
    const at = Date.now() + seconds * 1000;
    if (asking && askedAt <= at) return;
    clearTimeout(asking);
    askedAt = at;
    asking = setTimeout(async () => {
      asking = 0;
      const open = items.filter((item) => item.hash && !item.onB);
      if (open.length === 0 || !signedIn) return;
      let news = false;
      try {
        const hashes = [...new Set(open.map((item) => item.hash))].slice(0, 100);
        const answer = await fetch('/upload/proofs', { method: 'POST', body: JSON.stringify({ hashes }), credentials: 'same-origin' });
        if (answer.status === 401) await signInAgain();
        const proofs = answer.ok ? (await answer.json()).proofs : [];
        for (const proof of proofs) {
          for (const item of open) {
            if (item.hash !== proof.hash) continue;
            if (item.state === 'asking' && proof.on_a) {
              item.state = 'stored';
              secure.confirmed(item);
            }
            if (proof.on_b) {
              item.onB = new Date(proof.on_b);
              news = true;
            }
          }
        }
      } catch (e) { /* asked again below */ }
      draw();
      ask(news ? ASK[0] : Math.min(Math.max(seconds * 1.5, ASK[0]), ASK[1]));
    }, seconds * 1000);
  }

  // --- showing

  function draw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      show();
    });
  }

  const size = (bytes) => {
    const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
    let at = 0;
    let value = bytes;
    while (value >= 1000 && at < units.length - 1) { value /= 1000; at += 1; }
    return `${at === 0 ? value : value.toFixed(1)} ${units[at]}`;
  };
  const clock = (date) => date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  const count = (...states) => items.filter((item) => states.includes(item.state)).length;

  function show() {
    const finished = count('stored', 'there');
    const broken = count('failed');
    const proved = items.filter((item) => item.onB).length;
    const bytes = items.reduce((sum, item) => sum + item.file.size, 0);
    const sent = items.reduce((sum, item) => sum + Math.min(item.sent, item.file.size), 0);
    for (const id of ['progress', 'all']) $(id).hidden = items.length === 0;
    $('failed').hidden = broken === 0;
    set('headline', headline(finished, broken, proved));
    $('total').max = Math.max(bytes, 1);
    $('total').value = sent;
    set('bytes', `${size(sent)} of ${size(bytes)} sent`);
    set('count-stored', String(count('stored')));
    set('count-there', String(count('there')));
    set('count-proved', String(proved));
    set('count-failed', String(broken));
    $('failures').toggleAttribute('data-any', broken > 0);
    set('failed-title', `Not sent: ${broken}`);
    for (const item of items) showRow(item);
    secure.busy(count('sending', 'waiting', 'pausing') > 0 && signedIn);
  }

  function headline(finished, broken, proved) {
    const all = items.length;
    if (finished < all) return broken && !count('sending', 'waiting', 'pausing')
      ? `${finished} of ${all} are safe on drive A, ${broken} not sent`
      : `${finished} of ${all} are safe on drive A`;
    return proved < all ? `All ${all} are safe on drive A, ${proved} proved on drive B` : `All ${all} are safe on drive A and proved on drive B`;
  }

  // Only what changed is written: else a screen reader would read all of it again and again.
  function set(id, text) {
    if ($(id).textContent !== text) $(id).textContent = text;
  }

  function state(item) {
    switch (item.state) {
      case 'waiting': return ['', 'waiting'];
      case 'asking': return ['', 'sent in the background; asking the box whether it is safe'];
      case 'sending': return ['', `${size(Math.min(item.sent, item.file.size))} of ${size(item.file.size)}`];
      case 'pausing': return ['wait', item.why];
      case 'failed': return ['bad', item.why];
      default: {
        const safe = item.state === 'there' ? 'already there, safe on drive A' : 'safe on drive A';
        return item.onB ? ['good', `${safe} · proved on drive B ${clock(item.onB)}`] : ['good', `${safe} · on its way to drive B`];
      }
    }
  }

  function row(item) {
    const make = (tag, name) => {
      const element = document.createElement(tag);
      if (name) element.className = name;
      return element;
    };
    const parts = { li: make('li'), name: make('span', 'name'), bar: make('progress'), state: make('span', 'state'), button: make('button') };
    parts.name.textContent = item.file.name;
    parts.bar.max = Math.max(item.file.size, 1);
    parts.bar.setAttribute('aria-label', `Progress of ${item.file.name}`);
    parts.button.type = 'button';
    parts.button.textContent = 'Retry';
    parts.button.setAttribute('aria-label', `Retry ${item.file.name}`);
    parts.button.addEventListener('click', () => retry([item]));
    parts.li.append(parts.name, parts.bar, parts.state, parts.button);
    return parts;
  }

  function showRow(item) {
    // Thousands are listed, and two of them move.
    const now = [item.state, item.sent, item.why, item.path, item.onB && item.onB.getTime()].join();
    if (item.shown === now) return;
    item.shown = now;
    item.row = item.row || row(item);
    const { li, name, bar, state: line, button } = item.row;
    const [kind, text] = state(item);
    const list = $(item.state === 'failed' ? 'failed-list' : 'list');
    if (li.parentNode !== list) list.append(li);
    li.dataset.state = item.state;
    bar.value = item.sent;
    bar.hidden = item.state !== 'sending';
    button.hidden = item.state !== 'failed';
    if (line.textContent !== text) line.textContent = text;
    line.className = `state ${kind}`;
    if (item.path && name.textContent !== item.path) name.textContent = item.path.split('/').slice(1).join('/');
  }

  // --- beginning

  $('sign-in').addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = $('sign-in').querySelector('button');
    button.disabled = true;
    try {
      const user = $('user').value.trim();
      if (await signIn(user, $('password').value) === 200) {
        remember('user', user);
        $('password').value = '';
      }
    } catch (e) {
      say('The box cannot be reached.');
    } finally {
      button.disabled = false;
    }
  });
  $('sign-out').addEventListener('click', async () => {
    known = null;
    secure.left();
    try { await session('DELETE'); } catch (e) { /* the box forgets it by itself */ }
    leave();
  });
  $('retry-all').addEventListener('click', () => retry(items));
  for (const id of ['photos', 'files']) {
    $(id).addEventListener('change', () => {
      choose([...$(id).files]);
      $(id).value = '';
    });
  }
  $('album').value = remembered('album');
  $('album').addEventListener('input', () => { remember('album', $('album').value); showWhere(); });
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    if (signedIn) choose([...event.dataTransfer.files].filter((file) => file.size > 0));
  });
  // Back in the network, or back on this page after the phone had put it to sleep.
  window.addEventListener('online', () => { if (stopped) retry(items); });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && items.some((item) => item.hash && !item.onB)) ask(ASK[0]);
  });
  window.addEventListener('beforeunload', (event) => {
    if (count('sending', 'waiting', 'pausing') > 0) event.preventDefault();
  });
  const apple = /iPhone|iPad|iPod/.test(navigator.userAgent) || (navigator.platform === 'MacIntel' && navigator.maxTouchPoints > 1);
  $('about-iphone').open = apple;
  if (typeof tus === 'undefined' || !tus.isSupported) say('This browser is too old to send photos. Use an upload app.');
  else {
    secure.begin({ items, size, addShared, addSent, tell, album: () => $('album').value.trim() });
    begin();
  }
})();
