-- What phones that follow a person's photos are to look at again (Immich's app). Nothing is written to `feed` for anybody whom nobody follows.
-- since: when the device was added, in nanoseconds; another one of the same name follows from the beginning.
CREATE TABLE follower (
  device TEXT PRIMARY KEY,
  home TEXT NOT NULL,
  since INTEGER NOT NULL,
  seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX follower_of ON follower (home);

-- Up to which change a follower said that it has what it was told of one kind.
CREATE TABLE heard (
  device TEXT NOT NULL REFERENCES follower(device) ON DELETE CASCADE,
  entity TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (device, entity)
) STRICT, WITHOUT ROWID;

-- Whose photos are followed. filled: up to which name's id what was there before is in the feed; -1: all of it.
CREATE TABLE followed (home TEXT PRIMARY KEY, filled INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- What changed last, each thing once: a photo (folder ''), a folder (hash x''), or a photo in a folder. What it is now is looked up.
CREATE TABLE feed (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  home TEXT NOT NULL,
  folder TEXT NOT NULL,
  hash BLOB NOT NULL,
  UNIQUE (home, folder, hash)
) STRICT;

-- To insert a name here is to say that it changed. Its photo, its folder, and that it is there are to be looked at again; and all photos
-- that share its stem, because the halves of a Live Photo are found by that.
CREATE VIEW touch (fold, parent, hash) AS SELECT fold, parent, hash FROM name WHERE 0;
-- A conflict clause in a trigger would be that of the statement that fired it: so DELETE and INSERT.
CREATE TRIGGER touch_file INSTEAD OF INSERT ON touch WHEN NEW.hash IS NOT NULL AND EXISTS
  (SELECT 1 FROM followed WHERE home = substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1))
BEGIN
  -- Two, and not one with OR, which would look through all of the home's.
  DELETE FROM feed WHERE home = substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1) AND folder = '' AND hash = NEW.hash;
  DELETE FROM feed WHERE home = substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1) AND folder = NEW.parent AND hash IN (NEW.hash, x'');
  INSERT OR REPLACE INTO feed (home, folder, hash) SELECT substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1), f, h
    FROM (SELECT '' AS f, NEW.hash AS h UNION SELECT NEW.parent, NEW.hash UNION SELECT NEW.parent, x'');
END;
-- `rtrim` with every character but the dot leaves the name up to its last dot; in a name without one, a dot of a folder above it.
CREATE TRIGGER touch_halves INSTEAD OF INSERT ON touch WHEN NEW.hash IS NOT NULL
  AND length(rtrim(NEW.fold, replace(NEW.fold, '.', ''))) > length(NEW.parent) + 1 AND EXISTS
  (SELECT 1 FROM followed WHERE home = substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1))
BEGIN
  DELETE FROM feed WHERE home = substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1) AND folder = '' AND hash <> NEW.hash AND hash IN
    (SELECT hash FROM name WHERE hash IS NOT NULL AND fold >= rtrim(NEW.fold, replace(NEW.fold, '.', ''))
     AND fold < rtrim(rtrim(NEW.fold, replace(NEW.fold, '.', '')), '.') || '/');
  INSERT OR REPLACE INTO feed (home, folder, hash) SELECT DISTINCT substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1), '', hash
    FROM name WHERE hash <> NEW.hash AND fold >= rtrim(NEW.fold, replace(NEW.fold, '.', ''))
    AND fold < rtrim(rtrim(NEW.fold, replace(NEW.fold, '.', '')), '.') || '/';
END;
CREATE TRIGGER touch_folder INSTEAD OF INSERT ON touch WHEN NEW.hash IS NULL AND EXISTS
  (SELECT 1 FROM followed WHERE home = substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1))
BEGIN
  DELETE FROM feed WHERE home = substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1) AND folder = NEW.fold AND hash = x'';
  INSERT INTO feed (home, folder, hash) VALUES (substr(NEW.fold, 1, instr(NEW.fold || '/', '/') - 1), NEW.fold, x'');
END;

CREATE TRIGGER name_came AFTER INSERT ON name WHEN NEW.shelf = 'photos' AND EXISTS (SELECT 1 FROM followed) BEGIN
  INSERT INTO touch (fold, parent, hash) VALUES (NEW.fold, NEW.parent, NEW.hash);
END;
CREATE TRIGGER name_went AFTER DELETE ON name WHEN OLD.shelf = 'photos' AND EXISTS (SELECT 1 FROM followed) BEGIN
  INSERT INTO touch (fold, parent, hash) VALUES (OLD.fold, OLD.parent, OLD.hash);
END;
CREATE TRIGGER name_changed AFTER UPDATE OF fold, path, shelf, hash, mtime, ctime ON name WHEN EXISTS (SELECT 1 FROM followed) BEGIN
  INSERT INTO touch (fold, parent, hash) VALUES (OLD.fold, OLD.parent, OLD.hash), (NEW.fold, NEW.parent, NEW.hash);
END;
-- Without a SHA-1, and without a good copy on the main drive, a photo is not told of.
CREATE TRIGGER sha1_known AFTER UPDATE OF sha1 ON asset WHEN OLD.sha1 IS NOT NEW.sha1 AND EXISTS (SELECT 1 FROM followed) BEGIN
  INSERT INTO touch (fold, parent, hash) SELECT fold, parent, hash FROM name WHERE hash = NEW.hash AND shelf = 'photos';
END;
CREATE TRIGGER copy_good AFTER UPDATE OF state ON copy WHEN OLD.state NOT IN ('settled', 'verified') AND NEW.state IN ('settled', 'verified')
  AND EXISTS (SELECT 1 FROM followed) AND EXISTS (SELECT 1 FROM drive WHERE id = NEW.drive AND role = 'primary')
BEGIN
  INSERT INTO touch (fold, parent, hash) SELECT fold, parent, hash FROM name WHERE id = NEW.name AND hash IS NOT NULL AND shelf = 'photos';
END;
CREATE TRIGGER media_read AFTER INSERT ON media WHEN EXISTS (SELECT 1 FROM followed) BEGIN
  INSERT INTO touch (fold, parent, hash) SELECT fold, parent, hash FROM name WHERE hash = NEW.hash AND shelf = 'photos';
END;
