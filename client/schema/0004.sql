-- Own changes whose bytes are not those that were saved (state 8).
CREATE INDEX outbox_damaged ON outbox (op) WHERE state = 8;

-- What has been looked up at the server, beside the scopes: in no cut, in no digest, in no
-- index of names, and purged after a day. at is the server's time of the lookup.
CREATE TABLE looked_up (
	id     BLOB PRIMARY KEY,
	kind   INTEGER NOT NULL,
	at     INTEGER NOT NULL,
	body   BLOB NOT NULL,
	stamps BLOB NOT NULL
) STRICT, WITHOUT ROWID;
