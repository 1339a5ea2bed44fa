-- The epoch of the server's history that the device stands in, and earlier ones;
-- whether somebody has to confirm the replica, and whether the server is being
-- checked after a restore; the reconciliation under way; the settled changes whose
-- bytes are kept.
ALTER TABLE replica ADD COLUMN epoch BLOB;
ALTER TABLE replica ADD COLUMN past BLOB;
ALTER TABLE replica ADD COLUMN unconfirmed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN recovering INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN repair_stage INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN repair_next INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN repair_tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN repair_found INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN repair_scopes BLOB;
ALTER TABLE replica ADD COLUMN repair_from BLOB;
ALTER TABLE replica ADD COLUMN verified_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN kept_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN oldest_kept INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN lost_ops INTEGER NOT NULL DEFAULT 0;

-- Until now the bytes of a settled change were let go.
UPDATE replica SET kept_from = next_op, oldest_kept = next_op;

-- State 7 is to be sent again.
DROP INDEX outbox_queue;
CREATE INDEX outbox_queue ON outbox (rank, op) WHERE state IN (1, 7);

-- Own changes of earlier replicas of this store, in the order of n. What has been
-- issued anew, or is kept no more, has no bytes.
CREATE TABLE retired (
	n        INTEGER PRIMARY KEY,
	replica  BLOB NOT NULL,
	op       INTEGER NOT NULL,
	change   BLOB NOT NULL,
	class    INTEGER NOT NULL,
	state    INTEGER NOT NULL,
	at       INTEGER NOT NULL,
	envelope BLOB NOT NULL,
	records  BLOB NOT NULL,
	needs    BLOB,
	outcome  BLOB,
	raw      BLOB
) STRICT;
CREATE INDEX retired_kept ON retired (n) WHERE raw IS NOT NULL;

-- What else is to be said of a contact.
ALTER TABLE sync_event ADD COLUMN note TEXT NOT NULL DEFAULT '';
