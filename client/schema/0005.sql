-- What this device notes for the audit log, in a chain: see syncengine/audit. What the
-- server has is kept for a while.
CREATE TABLE audit_entry (
	n     INTEGER PRIMARY KEY,
	entry BLOB NOT NULL
) STRICT;

-- Where the chain stands; one row. Entries up to kept are at the server.
CREATE TABLE audit_chain (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	replica BLOB NOT NULL,
	number  INTEGER NOT NULL,
	hash    BLOB NOT NULL,
	kept    INTEGER NOT NULL
) STRICT;

-- Checkpoints of the server's audit log. linked: it is the first one, or was proved to
-- extend those before it; 2: it cannot be proved any more, its epoch is over.
CREATE TABLE audit_checkpoint (
	epoch     BLOB NOT NULL,
	size      INTEGER NOT NULL,
	at        INTEGER NOT NULL,
	root      BLOB NOT NULL,
	signature BLOB NOT NULL,
	linked    INTEGER NOT NULL,
	PRIMARY KEY (epoch, size)
) STRICT, WITHOUT ROWID;
