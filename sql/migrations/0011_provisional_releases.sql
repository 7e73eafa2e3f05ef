-- A release of the running day knows its events up to this slot only; NULL for a release of a whole, sealed day.
ALTER TABLE releases ADD COLUMN IF NOT EXISTS until_slot BIGINT;
