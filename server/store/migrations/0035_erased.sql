-- +goose Up

-- Records that were erased by law: the kind, the sequence at which they left, and the hash
-- of the row that stood there. Never deleted. scrubbed_ms = 0: what changes say of one has
-- not been taken out of the change log yet.
CREATE TABLE erased (
  org         {{int}} NOT NULL,
  record      {{bytes}} NOT NULL,
  kind        {{int}} NOT NULL,
  seq         {{int}} NOT NULL,
  hash        {{int}} NOT NULL,
  erased_ms   {{int}} NOT NULL,
  scrubbed_ms {{int}} NOT NULL,
  PRIMARY KEY (org, record)
) {{packed}};

-- The SHA-256 of what is left of a change's body, of which what it said about erased
-- records was cut out; null where the body is whole, and body_hash is its hash.
ALTER TABLE change ADD COLUMN left_hash {{bytes}};
