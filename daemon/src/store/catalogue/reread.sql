-- The scrub asks for what was never read back, and for what was read longest ago.
CREATE INDEX copy_reread ON copy (drive, reread, settled) WHERE state IN ('settled', 'verified');
