-- Emergencies in which a person's record was opened. at is by the device's clock, until by
-- the server's as far as it is known. reported: the server has it.
CREATE TABLE emergency (
	id       BLOB PRIMARY KEY,
	subject  BLOB NOT NULL,
	at       INTEGER NOT NULL,
	until    INTEGER NOT NULL,
	reason   TEXT NOT NULL,
	opened   INTEGER NOT NULL,
	reported INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- until: when an emergency ends in which it was opened, 0 for what was looked up.
ALTER TABLE looked_up ADD COLUMN until INTEGER NOT NULL DEFAULT 0;
