-- The files of attachments, by the record that names them: size bytes, of which held are
-- here, from the beginning, and sent are known to be at the server. own: this device has
-- attached it. state 1 is to be sent, 2 is whole at the server, 3 is of a record that is
-- void there. at is when it was attached, last looked at, or seen to be void; thumb is a small picture of it, empty for none.
CREATE TABLE blob (
	record BLOB PRIMARY KEY,
	size   INTEGER NOT NULL,
	held   INTEGER NOT NULL,
	sent   INTEGER NOT NULL,
	own    INTEGER NOT NULL,
	state  INTEGER NOT NULL,
	at     INTEGER NOT NULL,
	thumb  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_unsent ON blob (at) WHERE state = 1;

-- Their bytes; at is where a part begins.
CREATE TABLE blob_part (
	record BLOB NOT NULL,
	at     INTEGER NOT NULL,
	data   BLOB NOT NULL,
	PRIMARY KEY (record, at)
) STRICT;
