-- ctime: when the client says that it made the file. changed: says of a folder which event last changed anything below it.
ALTER TABLE name ADD COLUMN ctime INTEGER;
ALTER TABLE name ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX property_named ON property (local, name);
