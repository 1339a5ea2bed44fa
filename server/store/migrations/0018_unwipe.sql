-- +goose Up

-- When the order to wipe was first told to this replica, 0 for never; and whether that order
-- alone shut it out, so that taking it back lets it in again.
ALTER TABLE replica ADD COLUMN wipe_told_ms {{int}} NOT NULL DEFAULT 0;
ALTER TABLE replica ADD COLUMN wipe_shut {{int}} NOT NULL DEFAULT 0;

-- Orders that were open before nobody has noted: they may have been told.
UPDATE replica SET wipe_told_ms = wipe_ms WHERE wipe_ms <> 0;
