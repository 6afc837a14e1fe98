-- What an asset's own bytes say of it, read by `work/media`, and read again when it is lost. taken: milliseconds since 1970-01-01T00:00 on a
-- clock where it was taken; taken_offset: seconds east of UTC; duration: milliseconds; motion: bytes of a video in the same file, 0 if unknown.
CREATE TABLE media (
  hash BLOB PRIMARY KEY,
  kind TEXT NOT NULL,
  structure TEXT NOT NULL,
  width INTEGER,
  height INTEGER,
  taken INTEGER,
  taken_offset INTEGER,
  taken_from TEXT,
  make TEXT,
  model TEXT,
  latitude REAL,
  longitude REAL,
  duration INTEGER,
  content_id TEXT,
  motion INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX media_of_content ON media (content_id) WHERE content_id IS NOT NULL;

-- Assets whose metadata is still to be read.
CREATE TABLE unread (
  id INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  tries INTEGER NOT NULL DEFAULT 0,
  retry INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO unread (hash) SELECT hash FROM asset ORDER BY received;
