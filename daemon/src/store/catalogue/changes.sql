-- open: a change on the primary that took this content from its name, and that no person has answered for: the brake counts them.
-- size, mtime, received, sender: as the name had them, so that it can be put back as it was.
ALTER TABLE trashed ADD COLUMN open INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trashed ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trashed ADD COLUMN mtime INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trashed ADD COLUMN received INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trashed ADD COLUMN sender TEXT NOT NULL DEFAULT '';
CREATE INDEX trashed_open ON trashed (id) WHERE open = 1;
-- Where else content lies, once its name is gone.
CREATE INDEX trashed_hash ON trashed (hash);
CREATE INDEX leaving_hash ON leaving (hash);
