-- +goose Up

-- The audit log, entry by entry: see syncengine/audit. Rows are added and never changed.
CREATE TABLE audit (
  org   {{int}} NOT NULL,
  n     {{int}} NOT NULL,
  entry {{bytes}} NOT NULL,
  PRIMARY KEY (org, n)
) {{packed}};

-- Nodes of its tree, from the level on that has 256 entries under a node.
CREATE TABLE audit_node (
  org   {{int}} NOT NULL,
  level {{int}} NOT NULL,
  n     {{int}} NOT NULL,
  hash  {{bytes}} NOT NULL,
  PRIMARY KEY (org, level, n)
) {{packed}};

-- How many entries there are, the edge of the tree, and when the last checkpoint was signed
-- at which size.
CREATE TABLE audit_head (
  org         {{int}} NOT NULL,
  size        {{int}} NOT NULL,
  edge        {{bytes}} NOT NULL,
  signed_ms   {{int}} NOT NULL,
  signed_size {{int}} NOT NULL,
  PRIMARY KEY (org)
) {{strict}};

-- Signed checkpoints. All of the last day, then the last of each hour.
CREATE TABLE audit_checkpoint (
  org       {{int}} NOT NULL,
  size      {{int}} NOT NULL,
  at_ms     {{int}} NOT NULL,
  epoch     {{bytes}} NOT NULL,
  root      {{bytes}} NOT NULL,
  signature {{bytes}} NOT NULL,
  PRIMARY KEY (org, size)
) {{packed}};

-- Where the chains of devices stood at the end of each delivery.
CREATE TABLE audit_chain (
  org     {{int}} NOT NULL,
  replica {{bytes}} NOT NULL,
  number  {{int}} NOT NULL,
  hash    {{bytes}} NOT NULL,
  PRIMARY KEY (org, replica, number)
) {{packed}};
