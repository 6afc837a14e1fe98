-- Uploads of a device that were here already, so that a phone which was set up anew can be told so. A count, and no event.
ALTER TABLE device ADD COLUMN already INTEGER NOT NULL DEFAULT 0;
