-- +goose Up

-- How the org's signing key followed from those before it: an encoded OrgRenewal without a
-- certificate. NULL where it is the first.
ALTER TABLE org ADD COLUMN successors {{bytes}};
