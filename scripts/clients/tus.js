// One upload by tus-js-client under Node, for scripts/clients/tus: what happens is printed as lines of JSON.
// Usage: node tus.js '{"module": PATH, "endpoint": URL, "authorization": TEXT, "file": PATH, …}'
'use strict';

const fs = require('node:fs');
const wish = JSON.parse(process.argv[2]);
const tus = require(wish.module);
const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const file = fs.createReadStream(wish.file);
const upload = new tus.Upload(file, {
  endpoint: wish.endpoint,
  headers: { Authorization: wish.authorization },
  metadata: { filename: wish.name, album: wish.album || 'tus', lastModified: '1600000000000', ...wish.metadata },
  uploadSize: fs.statSync(wish.file).size,
  chunkSize: wish.chunk || Infinity,
  uploadDataDuringCreation: Boolean(wish.at_once),
  retryDelays: wish.pauses || null,
  urlStorage: wish.urls ? new tus.FileUrlStorage(wish.urls) : undefined,
  storeFingerprintForResuming: Boolean(wish.urls),
  fingerprint: async () => wish.name,
  onBeforeRequest: (request) => tell({
    request: request.getMethod(), offset: Number(request.getHeader('Upload-Offset') || 0),
  }),
  onAfterResponse: (request, answer) => tell({ answer: answer.getStatus() }),
  onProgress: (sent, total) => {
    tell({ sent, total });
    if (wish.abort_at && sent >= wish.abort_at) {
      wish.abort_at = 0;
      upload.abort(Boolean(wish.terminate)).then(() => tell({ aborted: upload.url }), (e) => tell({ error: e.message }));
    }
  },
  onError: (error) => {
    tell({ error: error.message, status: error.originalResponse ? error.originalResponse.getStatus() : 0 });
    process.exitCode = 1;
  },
  onSuccess: ({ lastResponse }) => tell({
    done: upload.url,
    hash: lastResponse.getHeader('Shoebox-Hash'),
    path: decodeURIComponent(lastResponse.getHeader('Shoebox-Path') || ''),
    outcome: lastResponse.getHeader('Shoebox-Outcome'),
  }),
});

(async () => {
  if (wish.urls) {
    const before = await upload.findPreviousUploads();
    if (before.length > 0) upload.resumeFromPreviousUpload(before[0]);
  }
  upload.start();
})();
