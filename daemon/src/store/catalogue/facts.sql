-- What a drive's own record was told of the pool: people, devices, empty folders. key: kind and name; value: what was said.
CREATE TABLE told (
  drive TEXT NOT NULL REFERENCES drive(id),
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (drive, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX name_folder ON name (fold) WHERE hash IS NULL;
-- Drives that are used no more.
CREATE TABLE retired (
  drive TEXT PRIMARY KEY,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
