-- Accounts can be moved to another vault, be locked, and be deleted.
CREATE TABLE account_2 (
    handle             TEXT PRIMARY KEY,
    -- `creating` and `deleting` rows belong to something that was cut short: start removes what they name.
    state              TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'deleting')),
    vault              TEXT NOT NULL,
    leftover_vault     TEXT,              -- a second vault that may hold the record; to be emptied
    locked_since_ms    INTEGER NOT NULL,  -- 0: was open when it was last heard of
    network            TEXT NOT NULL,
    created_ms         INTEGER NOT NULL,
    client_token       TEXT NOT NULL,
    client_fingerprint BLOB NOT NULL
) STRICT;
INSERT INTO account_2
    (handle, state, vault, leftover_vault, locked_since_ms, network, created_ms, client_token, client_fingerprint)
    SELECT handle, state, vault, NULL, 0, network, created_ms, client_token, client_fingerprint FROM account;
DROP TABLE account;
ALTER TABLE account_2 RENAME TO account;
