// When a photo was taken, as its EXIF says: for the folder of its month. Of JPEG and HEIC alike the first pieces are enough.
'use strict';

// The local month of capture, "2026-11", from the first bytes of a file; null if they do not say.
function monthTaken(buffer) {
  const bytes = new Uint8Array(buffer);
  for (let at = 0; at + 14 < bytes.length; at += 1) {
    // "Exif", two zeros, then the byte order.
    if (bytes[at] === 0x45 && bytes[at + 1] === 0x78 && bytes[at + 2] === 0x69 && bytes[at + 3] === 0x66 &&
        bytes[at + 4] === 0 && bytes[at + 5] === 0 && bytes[at + 6] === bytes[at + 7] &&
        (bytes[at + 6] === 0x49 || bytes[at + 6] === 0x4d)) {
      const month = monthOfTiff(new DataView(buffer, at + 6), bytes[at + 6] === 0x49);
      if (month) return month;
    }
  }
  return null;
}

// The same from a TIFF structure (EXIF 2.3): DateTimeOriginal, or else DateTime.
function monthOfTiff(view, little) {
  const text = (at, length) => {
    let found = '';
    for (let i = 0; i < length; i += 1) found += String.fromCharCode(view.getUint8(at + i));
    return found;
  };
  // Where the value of a tag is: its field and its offset; of what is not there, null.
  const entry = (directory, tag) => {
    const count = Math.min(view.getUint16(directory, little), 512);
    for (let i = 0; i < count; i += 1) {
      const at = directory + 2 + 12 * i;
      if (view.getUint16(at, little) === tag) return view.getUint32(at + 8, little);
    }
    return null;
  };
  try {
    if (view.getUint16(2, little) !== 42) return null;
    const first = view.getUint32(4, little);
    const exif = entry(first, 0x8769);
    for (const at of [exif === null ? null : entry(exif, 0x9003), entry(first, 0x0132)]) {
      const found = at === null ? null : /^((?:19|20)\d\d):(0[1-9]|1[0-2]):/.exec(text(at, 8));
      if (found) return `${found[1]}-${found[2]}`;
    }
    return null;
  } catch (e) {
    // An offset outside of what was read.
    return null;
  }
}

// The local month of a time in milliseconds since 1970.
function monthOf(milliseconds) {
  const date = new Date(milliseconds);
  return `${String(date.getFullYear()).padStart(4, '0')}-${String(date.getMonth() + 1).padStart(2, '0')}`;
}

if (typeof module !== 'undefined') module.exports = { monthTaken, monthOf };
