-- Records of this person that a lead has opened at the server: n is the server's number of
-- it, at the server's time, hash that of the row that was shown.
CREATE TABLE seen_by_lead (
	record BLOB PRIMARY KEY,
	n      INTEGER NOT NULL,
	at     INTEGER NOT NULL,
	hash   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_by_lead_n ON seen_by_lead (n);
