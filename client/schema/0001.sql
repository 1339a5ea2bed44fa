-- What does not change with every save: certificate, key, address of the server.
CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What this replica knows of itself; one row, from enrolment on.
CREATE TABLE replica (
	one          INTEGER PRIMARY KEY CHECK (one = 1),
	org          BLOB NOT NULL,
	replica      BLOB NOT NULL,
	person       BLOB NOT NULL,
	device       BLOB NOT NULL,
	next_op      INTEGER NOT NULL,
	last_hash    BLOB NOT NULL,
	known_op     INTEGER NOT NULL,
	staged       BLOB,
	offset_ms    INTEGER NOT NULL,
	offset_known INTEGER NOT NULL,
	contact_ms   INTEGER NOT NULL,
	forked       INTEGER NOT NULL,
	want         BLOB
) STRICT;

-- Held scopes. bit is the number of the scope's bit in rec.scopes.
CREATE TABLE scope (
	bit         INTEGER PRIMARY KEY CHECK (bit BETWEEN 0 AND 63),
	id          BLOB NOT NULL UNIQUE,
	compartment INTEGER NOT NULL,
	open        INTEGER NOT NULL,
	ready       INTEGER NOT NULL,
	position    BLOB,
	sum         BLOB NOT NULL,
	verified_ms INTEGER NOT NULL
) STRICT;

-- Records as screens show them: body and stamps hold the server's state with own
-- unsettled changes on top; base_body and base_stamps the server's where the two
-- differ. hash is the row hash of body and stamps, where own changes stand on top and
-- no base_body beside. A record is shown if it is in a ready scope or has pending changes; rows
-- of scopes in backfill stand here already, hidden. From at on, all columns derive
-- from the body.
CREATE TABLE rec (
	n           INTEGER PRIMARY KEY,
	id          BLOB NOT NULL UNIQUE,
	kind        INTEGER NOT NULL,
	scopes      INTEGER NOT NULL,
	pending     INTEGER NOT NULL,
	conflicts   INTEGER NOT NULL,
	base_hash   INTEGER,
	hash        INTEGER,
	at          INTEGER NOT NULL,
	lifecycle   TEXT NOT NULL,
	incident    BLOB,
	person      BLOB,
	parent      BLOB,
	number      TEXT,
	cad_number  TEXT,
	body        BLOB NOT NULL,
	stamps      BLOB NOT NULL,
	base_body   BLOB,
	base_stamps BLOB
) STRICT;
CREATE INDEX rec_kind ON rec (kind, at);
CREATE INDEX rec_incident ON rec (incident) WHERE incident IS NOT NULL;
CREATE INDEX rec_person ON rec (person) WHERE person IS NOT NULL;
CREATE INDEX rec_parent ON rec (parent) WHERE parent IS NOT NULL;
CREATE INDEX rec_number ON rec (number) WHERE number IS NOT NULL;
CREATE INDEX rec_cad_number ON rec (cad_number) WHERE cad_number IS NOT NULL;
CREATE INDEX rec_pending ON rec (n) WHERE pending > 0;
CREATE INDEX rec_conflicts ON rec (n) WHERE conflicts > 0;

-- Words by which people, staff and the like are found; rowid is rec.n.
CREATE VIRTUAL TABLE name USING fts5 (words, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3');
INSERT INTO name (name, rank) VALUES ('secure-delete', 1);

-- Rows that wait for the flip.
CREATE TABLE incoming (
	n      INTEGER PRIMARY KEY,
	id     BLOB NOT NULL UNIQUE,
	kind   INTEGER NOT NULL,
	scopes INTEGER NOT NULL,
	body   BLOB NOT NULL,
	stamps BLOB NOT NULL
) STRICT;

-- Own changes, for ever; envelope is the hash that the next op names. rank orders
-- the queue by class. The encoded change stands apart, so that a verdict does not
-- rewrite it; it goes when the change is settled (state 3).
CREATE TABLE outbox (
	op       INTEGER PRIMARY KEY,
	change   BLOB NOT NULL,
	class    INTEGER NOT NULL,
	rank     INTEGER NOT NULL,
	state    INTEGER NOT NULL,
	at       INTEGER NOT NULL,
	bytes    INTEGER NOT NULL,
	envelope BLOB NOT NULL,
	records  BLOB NOT NULL,
	needs    BLOB,
	outcome  BLOB
) STRICT;
CREATE INDEX outbox_queue ON outbox (rank, op) WHERE state = 1;
CREATE INDEX outbox_judged ON outbox (state, op) WHERE state IN (2, 4);
CREATE TABLE outbox_raw (
	op  INTEGER PRIMARY KEY,
	raw BLOB NOT NULL
) STRICT;

-- Which own changes write a record, until they are settled.
CREATE TABLE outbox_write (
	record BLOB NOT NULL,
	op     INTEGER NOT NULL,
	PRIMARY KEY (record, op)
) STRICT, WITHOUT ROWID;

-- Typing that is no change yet.
CREATE TABLE draft (
	key  TEXT PRIMARY KEY,
	at   INTEGER NOT NULL,
	body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The last contacts with the server, a ring.
CREATE TABLE sync_event (
	n          INTEGER PRIMARY KEY,
	at         INTEGER NOT NULL,
	ms         INTEGER NOT NULL,
	pushed     INTEGER NOT NULL,
	received   INTEGER NOT NULL,
	bytes_up   INTEGER NOT NULL,
	bytes_down INTEGER NOT NULL,
	fault      TEXT NOT NULL
) STRICT;
