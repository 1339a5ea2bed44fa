-- +goose Up

-- When the replica's device was ordered to wipe itself, and when this store of it
-- acknowledged that it has; 0 for never.
ALTER TABLE replica ADD COLUMN wipe_ms {{int}} NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN wiped_ms {{int}} NOT NULL DEFAULT 0;
