-- daemon.db: what the agent knows without any secret. It holds no account ID and no key.

-- What session-network keeps between runs: node list, guards, clock offset.
CREATE TABLE cache (
    record     TEXT PRIMARY KEY,
    bytes      BLOB NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

-- Accounts by random handle. `creating` rows belong to a creation that was cut short: start removes them.
CREATE TABLE account (
    handle             TEXT PRIMARY KEY,
    state              TEXT NOT NULL CHECK (state IN ('creating', 'ready')),
    vault              TEXT NOT NULL,
    network            TEXT NOT NULL,
    created_ms         INTEGER NOT NULL,
    client_token       TEXT NOT NULL,
    client_fingerprint BLOB NOT NULL
) STRICT;
