-- +goose Up

-- Verified backups of an org: the copy holds its history up to seq, whose commit hash is
-- hash. The two newest count; what the second-newest holds is safe to forget elsewhere.
CREATE TABLE backup (
  org     {{int}} NOT NULL,
  seq     {{int}} NOT NULL,
  hash    {{bytes}} NOT NULL,
  made_ms {{int}} NOT NULL,
  PRIMARY KEY (org, seq)
) {{strict}};

-- The ops of a replica that a backup holds: those judged at its seq or before.
CREATE TABLE backup_op (
  org     {{int}} NOT NULL,
  seq     {{int}} NOT NULL,
  replica {{int}} NOT NULL,
  ranges  {{bytes}},
  PRIMARY KEY (org, seq, replica)
) {{packed}};

-- The ops that two verified backups hold, beside the replica that each answer reads.
ALTER TABLE replica ADD COLUMN backed {{bytes}};

-- Records as a device last had them from a history that is partly lost. One is open
-- until all its stamps are in the change log, or a lead has settled it (closed_ms); body
-- and stamps go when it is closed.
CREATE TABLE witness (
  org       {{int}} NOT NULL,
  record    {{bytes}} NOT NULL,
  hash      {{int}} NOT NULL,
  kind      {{int}} NOT NULL,
  replica   {{int}} NOT NULL,
  taken_ms  {{int}} NOT NULL,
  closed_ms {{int}},
  stamps    {{bytes}},
  body      {{bytes}},
  PRIMARY KEY (org, record, hash)
) {{strict}};
