-- +goose Up

-- Keys that the replica had before the present one, oldest first: for each the newest op
-- that it may have signed (8 bytes), and the key (32 bytes, zeros where it is not known).
ALTER TABLE replica ADD COLUMN former {{bytes}};
