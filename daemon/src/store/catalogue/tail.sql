-- 1: written before an unclean stop, and not re-read since: re-read first; what of it is gone was lost by the drive, and is made anew.
-- 2: gone before that stop, and left to people.
ALTER TABLE copy ADD COLUMN tail INTEGER NOT NULL DEFAULT 0;
CREATE INDEX copy_tail ON copy (drive) WHERE tail = 1;
