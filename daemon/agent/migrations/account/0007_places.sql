-- A tombstone names its place by number: the account ID in every key made the table twice as large, and each unit writes
-- a good part of it anew.
CREATE TABLE place (
    id        INTEGER PRIMARY KEY,
    swarm     TEXT NOT NULL,        -- account ID
    namespace INTEGER NOT NULL,
    UNIQUE (swarm, namespace)
) STRICT;
INSERT INTO place (swarm, namespace) SELECT DISTINCT swarm, namespace FROM tombstone;

CREATE TABLE tombstone_2 (
    place      INTEGER NOT NULL,
    hash       TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (place, hash)
) STRICT, WITHOUT ROWID;
INSERT INTO tombstone_2 (place, hash, expires_ms)
    SELECT p.id, t.hash, t.expires_ms
    FROM tombstone t JOIN place p ON p.swarm = t.swarm AND p.namespace = t.namespace;
DROP TABLE tombstone;
ALTER TABLE tombstone_2 RENAME TO tombstone;
CREATE INDEX tombstone_by_expiry ON tombstone (expires_ms);
