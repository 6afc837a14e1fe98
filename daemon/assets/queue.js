// Photos that were shared with the page and wait on this phone: written by the service worker, sent by it or by the page.
'use strict';

// A photo leaves the queue in two ways: the box said that it has it, or a person said not to send it. Needs a secure context.
const queue = (() => {
  // So many wait at once.
  const MOST = 1000;
  let opened = null;

  function database() {
    if (opened) return opened;
    opened = new Promise((resolve, reject) => {
      const asked = indexedDB.open('shoebox', 1);
      asked.onupgradeneeded = () => {
        asked.result.createObjectStore('waiting', { keyPath: 'id', autoIncrement: true });
        asked.result.createObjectStore('sent', { keyPath: 'id' });
        asked.result.createObjectStore('facts');
      };
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
    });
    opened.catch(() => { opened = null; });
    return opened;
  }

  // One transaction: all of it or nothing, and on the phone's storage when it is done.
  async function carry(stores, mode, work) {
    const transaction = (await database()).transaction(stores, mode, { durability: 'strict' });
    return new Promise((resolve, reject) => {
      const asked = work(...stores.map((name) => transaction.objectStore(name)));
      transaction.oncomplete = () => resolve(asked && asked.result);
      transaction.onabort = () => reject(transaction.error || new Error('the phone kept nothing'));
    });
  }

  const write = (work) => carry(['waiting'], 'readwrite', work);
  const all = (name) => carry([name], 'readonly', (store) => store.getAll());

  function change(id, what) {
    return write((waiting) => {
      const asked = waiting.get(id);
      asked.onsuccess = () => { if (asked.result) waiting.put({ ...asked.result, ...what }); };
    });
  }

  // --- the person this browser is used by, so that nobody sends another one's photos

  const setPerson = (person) => carry(['facts'], 'readwrite', (facts) => { facts.put(person, 'person'); });

  return {
    // Held by whoever sends: the page or the service worker, never both.
    LOCK: 'shoebox-queue',
    // The browser's word to the service worker that there may be a network again.
    TAG: 'shoebox-queue',

    async add(files) {
      const before = await carry(['waiting'], 'readonly', (waiting) => waiting.count());
      if (before + files.length > MOST) throw new DOMException('too many wait', 'QuotaExceededError');
      const came = Date.now();
      return write((waiting) => {
        for (const file of files) waiting.add({ name: file.name, size: file.size, file, came, agreed: false, person: '', album: '', url: '' });
      });
    },
    waiting: () => all('waiting'),
    find: (id) => carry(['waiting'], 'readonly', (waiting) => waiting.get(id)),
    // A person said that these are to be sent. Without: another site could have shared them.
    async agree(entries, album) {
      const person = await carry(['facts'], 'readonly', (facts) => facts.get('person')) || '';
      return write((waiting) => {
        for (const entry of entries) waiting.put({ ...entry, agreed: true, album, person });
      });
    },
    // What was agreed to before anybody had signed in is whoever's signs in next.
    isReady: (entry, person) => entry.agreed && (!entry.person || entry.person === person),
    begun: (id, url) => change(id, { url }),
    // Refused for good: a person is asked again before it is sent once more.
    refused: (id) => change(id, { agreed: false }),
    drop: (entries) => write((waiting) => { for (const entry of entries) waiting.delete(entry.id); }),

    // The box has it: the only way from waiting to sent, in one step.
    acknowledged: (entry, { hash, path }, person) => carry(['waiting', 'sent'], 'readwrite', (waiting, sent) => {
      waiting.delete(entry.id);
      sent.put({ id: entry.id, name: entry.name, size: entry.size, hash, path, person });
    }),
    sent: () => all('sent'),
    forget: (id) => carry(['sent'], 'readwrite', (sent) => { sent.delete(id); }),

    setPerson,
  };
})();
