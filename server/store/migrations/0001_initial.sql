-- +goose Up

-- Every table leads with the org's number: the key to lock, to shard and to page by.
-- Times are milliseconds since the Unix epoch; ids and hashes are bytes; a number that
-- stands for an id means something in this database only.

-- An org: its history stands at seq, and hash extends over every commit of the epoch.
-- Every writing transaction begins at its row.
CREATE TABLE org (
  num        {{int}} NOT NULL PRIMARY KEY,
  id         {{bytes}} NOT NULL UNIQUE,
  name       {{text}} NOT NULL,
  public_key {{bytes}} NOT NULL,
  epoch      {{bytes}} NOT NULL,
  seq        {{int}} NOT NULL,
  hash       {{bytes}} NOT NULL,
  created_ms {{int}} NOT NULL
) {{strict}};

-- The commits: seq is the last sequence of each.
CREATE TABLE history (
  org  {{int}} NOT NULL,
  seq  {{int}} NOT NULL,
  hash {{bytes}} NOT NULL,
  PRIMARY KEY (org, seq)
) {{packed}};

CREATE TABLE scope (
  org         {{int}} NOT NULL,
  num         {{int}} NOT NULL,
  owner       {{int}} NOT NULL,
  owner_id    {{bytes}} NOT NULL,
  compartment {{int}} NOT NULL,
  open        {{int}} NOT NULL,
  PRIMARY KEY (org, num),
  UNIQUE (org, owner, owner_id, compartment, open)
) {{packed}};

-- One life of a device's database. ranges are the ops that the server holds.
CREATE TABLE replica (
  org          {{int}} NOT NULL,
  num          {{int}} NOT NULL,
  id           {{bytes}} NOT NULL,
  person       {{bytes}} NOT NULL,
  device       {{bytes}} NOT NULL,
  public_key   {{bytes}} NOT NULL,
  ranges       {{bytes}},
  highest      {{int}} NOT NULL,
  highest_hash {{bytes}} NOT NULL,
  forked       {{int}} NOT NULL,
  revoked      {{int}} NOT NULL,
  PRIMARY KEY (org, num),
  UNIQUE (org, id)
) {{strict}};

-- The change log: idempotency key, outcome and audit, never deleted. replica and op are
-- null for a change made at the server. prev is null where it is the envelope hash of the
-- op before; author and device are null where they are the replica's. holes lists pieces
-- left out of body because a record's body still equals them: see share.go.
CREATE TABLE change (
  org         {{int}} NOT NULL,
  replica     {{int}},
  op          {{int}},
  stamp       {{int}} NOT NULL,
  seq         {{int}} NOT NULL,
  verdict     {{int}} NOT NULL,
  refusal     {{int}} NOT NULL,
  at_ms       {{int}} NOT NULL,
  received_ms {{int}} NOT NULL,
  id          {{bytes}} NOT NULL,
  body_hash   {{bytes}} NOT NULL,
  envelope    {{bytes}},
  prev        {{bytes}},
  author      {{bytes}},
  device      {{bytes}},
  fields      {{text}},
  holes       {{bytes}},
  body        {{bytes}}
) {{strict}};
CREATE INDEX change_stamp ON change (org, stamp);
CREATE UNIQUE INDEX change_op ON change (org, replica, op) WHERE replica IS NOT NULL;

-- Records at their latest state. scopes and touches are packed: see pack.go. shared says
-- that the creating change may have left its body to this row.
CREATE TABLE record (
  org         {{int}} NOT NULL,
  kind        {{int}} NOT NULL,
  seq         {{int}} NOT NULL,
  hash        {{int}} NOT NULL,
  plain       {{int}} NOT NULL,
  shared      {{int}} NOT NULL,
  run_replica {{int}},
  run_base    {{int}} NOT NULL,
  touch_base  {{int}} NOT NULL,
  id          {{bytes}} NOT NULL,
  scopes      {{bytes}},
  touches     {{bytes}},
  stamps      {{bytes}},
  body        {{bytes}}
) {{strict}};
CREATE UNIQUE INDEX record_id ON record (org, id);

-- One row for each scope and record, at its latest sequence; live = 0: it has left. A
-- live row stands at the sequence of its record, where it is found without an index.
CREATE TABLE scope_index (
  org    {{int}} NOT NULL,
  scope  {{int}} NOT NULL,
  seq    {{int}} NOT NULL,
  record {{bytes}} NOT NULL,
  live   {{int}} NOT NULL,
  PRIMARY KEY (org, scope, seq, record)
) {{packed}};
CREATE UNIQUE INDEX scope_index_left ON scope_index (org, scope, record) WHERE live = 0;

-- Digests: 256 sums of 16 bytes in one value.
CREATE TABLE scope_digest (
  org   {{int}} NOT NULL,
  scope {{int}} NOT NULL,
  sums  {{bytes}} NOT NULL,
  PRIMARY KEY (org, scope)
) {{strict}};

-- Stamps that an accepted write named before they arrived.
CREATE TABLE awaited (
  org    {{int}} NOT NULL,
  record {{bytes}} NOT NULL,
  path   {{bytes}} NOT NULL,
  stamp  {{int}} NOT NULL,
  PRIMARY KEY (org, record, path, stamp)
) {{packed}};

-- Records that are in the scopes of a team because another record brought them there.
CREATE TABLE follower (
  org    {{int}} NOT NULL,
  record {{bytes}} NOT NULL,
  team   {{bytes}} NOT NULL,
  PRIMARY KEY (org, record, team)
) {{packed}};

-- Work items. They hold no values; of one kind a path has at most one open item.
CREATE TABLE item (
  org        {{int}} NOT NULL,
  record     {{bytes}} NOT NULL,
  kind       {{text}} NOT NULL,
  path       {{bytes}} NOT NULL,
  opened_seq {{int}} NOT NULL,
  closed_seq {{int}}
) {{strict}};
CREATE INDEX item_record ON item (org, record, kind, path);
CREATE UNIQUE INDEX item_open ON item (org, record, kind, path) WHERE closed_seq IS NULL;

-- Changes in quarantine; their bytes and the reason are in the change log.
CREATE TABLE quarantine (
  org   {{int}} NOT NULL,
  stamp {{int}} NOT NULL,
  id    {{bytes}} NOT NULL,
  PRIMARY KEY (org, stamp, id)
) {{packed}};

-- The records that a quarantined change would have written; makes = 1: created.
CREATE TABLE quarantine_target (
  org    {{int}} NOT NULL,
  record {{bytes}} NOT NULL,
  id     {{bytes}} NOT NULL,
  makes  {{int}} NOT NULL,
  PRIMARY KEY (org, record, id)
) {{packed}};

-- One-time codes, by their hash. used_key is the key that enrolled with it.
CREATE TABLE enrolment (
  org          {{int}} NOT NULL,
  code_hash    {{bytes}} NOT NULL,
  staff        {{bytes}} NOT NULL,
  device       {{bytes}} NOT NULL,
  label        {{text}} NOT NULL,
  created_ms   {{int}} NOT NULL,
  expires_ms   {{int}} NOT NULL,
  attempts     {{int}} NOT NULL,
  used_key     {{bytes}},
  used_replica {{bytes}},
  used_ms      {{int}},
  PRIMARY KEY (org, code_hash)
) {{strict}};
