-- What a person may use at most, bytes; NULL: as much as there is.
ALTER TABLE person ADD COLUMN quota INTEGER;
