-- Landing straight into raw_events.

-- Counts the changes of `wallets`, so that a writer of events knows whether the names that it has are still the names.
CREATE TABLE wallet_names (
    one      BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    version  BIGINT NOT NULL
);
INSERT INTO wallet_names (version) VALUES (0);
CREATE FUNCTION count_wallet_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE wallet_names SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER wallet_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON wallets
    FOR EACH STATEMENT EXECUTE FUNCTION count_wallet_change();
