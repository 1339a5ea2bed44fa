-- +goose Up

-- recovering: the epoch began with a restore that nobody has confirmed yet.
ALTER TABLE org ADD COLUMN recovering {{int}} NOT NULL DEFAULT 0;

-- Epochs that an org's history has had, or lost, before the present one.
CREATE TABLE epoch (
  org      {{int}} NOT NULL,
  id       {{bytes}} NOT NULL,
  PRIMARY KEY (org, id)
) {{packed}};

-- unconfirmed: write-only. replaces is the replica that its store was before, recovered
-- says that it was taken back by its certificate. epoch, waits and lost are its last
-- report: see the engine's Report.
ALTER TABLE replica ADD COLUMN unconfirmed {{int}} NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN replaces {{bytes}};
ALTER TABLE replica ADD COLUMN recovered {{int}} NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN epoch {{bytes}};
ALTER TABLE replica ADD COLUMN waits {{int}} NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN lost {{bytes}};

-- Changes of the log that have come once more, under another replica or op.
CREATE TABLE reissue (
  org      {{int}} NOT NULL,
  replica  {{int}} NOT NULL,
  op       {{int}} NOT NULL,
  stamp    {{int}} NOT NULL,
  id       {{bytes}} NOT NULL,
  envelope {{bytes}} NOT NULL,
  prev     {{bytes}} NOT NULL,
  PRIMARY KEY (org, replica, op)
) {{packed}};

-- Rows of what has left a scope, to be let go in time.
CREATE INDEX scope_index_pruned ON scope_index (org, seq) WHERE live = 0;
