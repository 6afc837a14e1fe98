-- The catalogue, version 1: an index over files and manifests, rebuilt from them when lost. Times are nanoseconds since 1970.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE person (
  name TEXT PRIMARY KEY,
  created INTEGER NOT NULL
) STRICT;

CREATE TABLE device (
  person TEXT NOT NULL REFERENCES person(name),
  name TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('phone', 'computer')),
  token BLOB NOT NULL UNIQUE,
  created INTEGER NOT NULL,
  revoked INTEGER,
  last_seen INTEGER,
  PRIMARY KEY (person, name)
) STRICT;

-- seq and sum: the last event of that drive's manifest that this catalogue contains.
CREATE TABLE drive (
  id TEXT PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('primary', 'mirror', 'offline')),
  adopted INTEGER NOT NULL,
  seq INTEGER NOT NULL DEFAULT 0,
  sum TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE asset (
  hash BLOB PRIMARY KEY,
  size INTEGER NOT NULL,
  received INTEGER NOT NULL,
  sha1 TEXT,
  sha256 TEXT
) STRICT, WITHOUT ROWID;

-- fold: the case- and normalisation-blind key; parent: the fold of the folder above, '' at the top. hash NULL: a folder.
CREATE TABLE name (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  fold TEXT NOT NULL UNIQUE,
  parent TEXT NOT NULL,
  path TEXT NOT NULL,
  shelf TEXT NOT NULL CHECK (shelf IN ('photos', 'scratch')),
  hash BLOB,
  size INTEGER NOT NULL DEFAULT 0,
  mtime INTEGER NOT NULL,
  received INTEGER NOT NULL,
  by TEXT NOT NULL
) STRICT;
CREATE INDEX name_in_folder ON name (parent, fold);
CREATE INDEX name_of_asset ON name (hash) WHERE hash IS NOT NULL;
CREATE INDEX name_in_scratch ON name (received) WHERE shelf = 'scratch';

-- A name's content on one drive; at: the name it has there. big: after all small ones in the mirror's queue.
-- moved: the name changed since, and this drive has yet to follow.
CREATE TABLE copy (
  name INTEGER NOT NULL REFERENCES name(id) ON DELETE CASCADE,
  drive TEXT NOT NULL REFERENCES drive(id),
  hash BLOB NOT NULL,
  at TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('wanted', 'settled', 'verified', 'missing', 'damaged')),
  big INTEGER NOT NULL,
  since INTEGER NOT NULL,
  settled INTEGER,
  verified INTEGER,
  reread INTEGER,
  tries INTEGER NOT NULL DEFAULT 0,
  retry INTEGER NOT NULL DEFAULT 0,
  moved INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (name, drive)
) STRICT, WITHOUT ROWID;
CREATE INDEX copy_queue ON copy (drive, big, name DESC) WHERE state = 'wanted';
CREATE INDEX copy_state ON copy (drive, state);
CREATE INDEX copy_moved ON copy (drive) WHERE moved = 1;
CREATE INDEX copy_at ON copy (drive, at);
CREATE INDEX copy_of_asset ON copy (hash);

-- What a drive still holds under a name that no longer has this content: it goes to that drive's trash later.
CREATE TABLE leaving (
  drive TEXT NOT NULL REFERENCES drive(id),
  at TEXT NOT NULL,
  hash BLOB NOT NULL,
  since INTEGER NOT NULL,
  by TEXT NOT NULL,
  why TEXT NOT NULL,
  received INTEGER NOT NULL,
  PRIMARY KEY (drive, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX leaving_since ON leaving (drive, since);

-- path: the name it had; top: the name that was moved to trash, which lies at `at` now; what lay below lies below.
CREATE TABLE trashed (
  id INTEGER PRIMARY KEY,
  drive TEXT NOT NULL,
  path TEXT NOT NULL,
  top TEXT NOT NULL,
  at TEXT NOT NULL,
  hash BLOB,
  since INTEGER NOT NULL,
  by TEXT NOT NULL,
  why TEXT NOT NULL
) STRICT;
CREATE INDEX trashed_path ON trashed (path);

CREATE TABLE property (
  name INTEGER NOT NULL REFERENCES name(id) ON DELETE CASCADE,
  namespace TEXT NOT NULL,
  local TEXT NOT NULL,
  xml TEXT NOT NULL,
  PRIMARY KEY (name, namespace, local)
) STRICT, WITHOUT ROWID;

-- Months whose .sha256 file on a drive no longer says what the drive holds; mark rises with every change.
CREATE TABLE stale (
  drive TEXT NOT NULL REFERENCES drive(id),
  month TEXT NOT NULL,
  mark INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (drive, month)
) STRICT, WITHOUT ROWID;
CREATE INDEX name_received ON name (received) WHERE shelf = 'photos' AND hash IS NOT NULL;
