// What tus-js-client is told of a file, by the page and by its service worker alike.
'use strict';

const sending = (() => {
  // What is smaller goes in one request; what is larger goes in pieces, and each piece that arrived is never sent again.
  const PIECE = 8 * 1024 * 1024;
  // How much of a file is looked at for the date it was taken.
  const HEAD = 256 * 1024;
  // What no repetition mends, but for these.
  const PASSING = [401, 404, 408, 409, 410, 423, 429, 460];

  async function month(file, date) {
    try {
      const found = monthTaken(await file.slice(0, HEAD).arrayBuffer());
      if (found) return found;
    } catch (e) { /* an older browser, or the file is gone: its date will do */ }
    return monthOf(date);
  }

  // `date`: the file's own, in milliseconds since 1970. Of what was shared none is known: then `came`, which dates no file.
  async function metadata(file, album, date, came) {
    const told = { filename: file.name, filetype: file.type || '' };
    if (date) told.lastModified = String(date);
    if (album) told.album = album; else told.month = await month(file, date || came);
    return told;
  }

  const options = (file, told) => ({
    endpoint: '/tus/',
    metadata: told,
    chunkSize: PIECE,
    uploadDataDuringCreation: file.size <= PIECE,
    // Pauses are ours: what cannot be reached for one file cannot be reached for the others.
    retryDelays: null,
  });

  // What the box said of a file it has: nothing is called safe without.
  function acknowledged(answer) {
    const hash = answer.getHeader('Shoebox-Hash') || '';
    if (!hash) throw new Error('the box did not say that it has it');
    return {
      hash,
      path: decodeURIComponent(answer.getHeader('Shoebox-Path') || ''),
      there: answer.getHeader('Shoebox-Outcome') === 'already-there',
    };
  }

  return {
    PIECE, metadata, options, acknowledged,
    isFinal: (status) => status >= 400 && status < 500 && !PASSING.includes(status),
    // What the box no longer has, or never had whole, is begun anew.
    isGone: (status) => [404, 410, 460].includes(status),
  };
})();
