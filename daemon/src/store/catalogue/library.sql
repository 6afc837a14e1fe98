-- Asked by clients that know their photos by SHA-1, thousands at a time.
CREATE INDEX asset_sha1 ON asset (sha1) WHERE sha1 IS NOT NULL;
-- What a device calls a photo that it sent. Losing a row costs an upload of what is here already.
CREATE TABLE client_key (
  device TEXT NOT NULL,
  key TEXT NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (device, key)
) STRICT, WITHOUT ROWID;
