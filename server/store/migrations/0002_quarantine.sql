-- +goose Up

-- The ops of a replica that are not applied (in quarantine, or closed), and the newest
-- sequence at which the verdict on one of its ops changed.
ALTER TABLE replica ADD COLUMN apart {{bytes}};
ALTER TABLE replica ADD COLUMN revised {{int}} NOT NULL DEFAULT 0;

-- A change that was refused and not applied since; closed = 1: somebody has closed it.
-- replica and bytes are for the bounds of what one may have there.
ALTER TABLE quarantine ADD COLUMN closed {{int}} NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN replica {{int}};
ALTER TABLE quarantine ADD COLUMN bytes {{int}} NOT NULL DEFAULT 0;
UPDATE quarantine SET
  replica = (SELECT c.replica FROM change c WHERE c.org = quarantine.org AND c.stamp = quarantine.stamp AND c.id = quarantine.id),
  bytes = COALESCE((SELECT length(c.body) FROM change c WHERE c.org = quarantine.org AND c.stamp = quarantine.stamp AND c.id = quarantine.id), 0);
CREATE INDEX quarantine_replica ON quarantine (org, replica) WHERE closed = 0;

-- What people were ever granted. hash is what a change names; roles is one a line,
-- teams and programs are ids one after another.
CREATE TABLE held (
  org      {{int}} NOT NULL,
  person   {{bytes}} NOT NULL,
  hash     {{bytes}} NOT NULL,
  roles    {{text}} NOT NULL,
  teams    {{bytes}} NOT NULL,
  programs {{bytes}} NOT NULL,
  agency   {{bytes}} NOT NULL,
  PRIMARY KEY (org, person, hash, roles, teams)
) {{packed}};

-- Further ops under which a refused change was sent again.
CREATE TABLE holder (
  org      {{int}} NOT NULL,
  id       {{bytes}} NOT NULL,
  replica  {{int}} NOT NULL,
  op       {{int}} NOT NULL,
  envelope {{bytes}} NOT NULL,
  PRIMARY KEY (org, id, replica, op)
) {{packed}};

-- Ops whose verdict has changed, at the newest sequence.
CREATE TABLE revised (
  org      {{int}} NOT NULL,
  replica  {{int}} NOT NULL,
  op       {{int}} NOT NULL,
  seq      {{int}} NOT NULL,
  stamp    {{int}} NOT NULL,
  id       {{bytes}} NOT NULL,
  envelope {{bytes}} NOT NULL,
  PRIMARY KEY (org, replica, op)
) {{packed}};

-- What was done about changes in quarantine, never deleted.
CREATE TABLE quarantine_act (
  org     {{int}} NOT NULL,
  seq     {{int}} NOT NULL,
  id      {{bytes}} NOT NULL,
  kind    {{int}} NOT NULL,
  person  {{bytes}},
  by_change {{bytes}},
  reason  {{text}} NOT NULL,
  at_ms   {{int}} NOT NULL,
  PRIMARY KEY (org, seq)
) {{packed}};
CREATE INDEX quarantine_act_id ON quarantine_act (org, id);
