-- The argon2id hash of a person's password; NULL: none.
ALTER TABLE person ADD COLUMN password TEXT;
-- Which program a device last came with, and its version, as it says of itself.
ALTER TABLE device ADD COLUMN app TEXT;
ALTER TABLE device ADD COLUMN app_version TEXT;
