-- One account's database, encrypted as a whole. Times are UTC milliseconds unless a name says otherwise.
-- Every TEXT or BLOB column is declared content or metadata in store/schema.rs; a test holds the two together.

CREATE TABLE meta (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    network      TEXT NOT NULL,
    account_id   TEXT NOT NULL,
    display_name TEXT NOT NULL,
    created_ms   INTEGER NOT NULL,
    log_id       BLOB NOT NULL,           -- identity of the event log: part of every cursor
    last_sent_ms INTEGER NOT NULL,        -- sent timestamps are strictly increasing
    last_now_ms  INTEGER NOT NULL         -- time never runs backwards over a restart
) STRICT;

CREATE TABLE conversation (
    id               INTEGER PRIMARY KEY,
    public_id        TEXT NOT NULL UNIQUE,
    kind             INTEGER NOT NULL,    -- ConversationKind of the API
    peer             TEXT NOT NULL UNIQUE,-- account ID of the other side; the own one for note to self
    display_name     TEXT NOT NULL,       -- as the other side last gave it
    display_name_ms  INTEGER NOT NULL,    -- sent timestamp of the message that gave it
    last_message     INTEGER,             -- receive_seq of the newest message
    last_activity_ms INTEGER NOT NULL,
    unread           INTEGER NOT NULL DEFAULT 0,
    created_ms       INTEGER NOT NULL
) STRICT;
CREATE INDEX conversation_by_activity ON conversation (last_activity_ms, id);

CREATE TABLE message (
    receive_seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    public_id        TEXT NOT NULL UNIQUE,
    conversation     INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    author           TEXT NOT NULL,       -- account ID
    outgoing         INTEGER NOT NULL,
    sent_ms          INTEGER NOT NULL,    -- as the author says
    received_ms      INTEGER NOT NULL,
    order_ms         INTEGER NOT NULL,    -- the earlier of the two
    kind             TEXT NOT NULL,       -- TEXT, or the name of a kind that is not supported
    body             TEXT,
    raw              BLOB,                -- Content of kinds that are not supported
    send_state       INTEGER NOT NULL,    -- SendState of the API
    sync_state       INTEGER NOT NULL,    -- SendState of the API
    failure          TEXT NOT NULL DEFAULT '',
    read             INTEGER NOT NULL,
    hash             TEXT,                -- in the own swarm
    server_expiry_ms INTEGER,             -- of that stored copy
    expiry_type      INTEGER NOT NULL DEFAULT 0, -- 1 after read, 2 after send
    expiry_timer_s   INTEGER NOT NULL DEFAULT 0,
    expires_at       INTEGER,             -- ms; NULL: does not disappear
    msg_id           BLOB,                -- of a protocol version 2 message
    server_id        INTEGER,             -- in a community
    wire_version     INTEGER NOT NULL,
    UNIQUE (conversation, author, sent_ms)
) STRICT;
CREATE INDEX message_by_order ON message (conversation, order_ms, receive_seq);
CREATE INDEX message_by_expiry ON message (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX message_by_hash ON message (hash) WHERE hash IS NOT NULL;

-- What waits to be stored. Sealed once; every retry stores the same bytes.
CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    message         INTEGER NOT NULL REFERENCES message (receive_seq) ON DELETE CASCADE,
    purpose         INTEGER NOT NULL,     -- 1 recipient, 2 copy for the own devices
    owner           TEXT NOT NULL,        -- account ID whose swarm gets it
    namespace       INTEGER NOT NULL,
    content         BLOB,                 -- serialised Content until it is sealed
    sealed          BLOB,
    hash            TEXT,
    sent_ms         INTEGER NOT NULL,
    ttl_ms          INTEGER NOT NULL,
    created_ms      INTEGER NOT NULL,
    waiting         INTEGER NOT NULL,     -- 1 until the recipient's item is done
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX outbox_by_message ON outbox (message);
CREATE INDEX outbox_due ON outbox (waiting, next_attempt_ms);
CREATE INDEX outbox_unsealed ON outbox (id) WHERE sealed IS NULL;

-- Hashes already dealt with, kept one retention window: what a swarm holds is applied once.
CREATE TABLE tombstone (
    swarm      TEXT NOT NULL,
    namespace  INTEGER NOT NULL,
    hash       TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (swarm, namespace, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstone_by_expiry ON tombstone (expires_ms);

-- How far each node of a swarm was read: the order of messages is the node's own.
CREATE TABLE swarm_cursor (
    swarm      TEXT NOT NULL,
    namespace  INTEGER NOT NULL,
    node       BLOB NOT NULL,
    hash       TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (swarm, namespace, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         INTEGER NOT NULL,        -- EventKind of the API
    conversation TEXT NOT NULL,           -- public id, or empty
    message      TEXT NOT NULL,           -- public id, or empty
    fields       TEXT NOT NULL,           -- names, separated by commas
    created_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX event_by_age ON event (created_ms);

CREATE TABLE subscriber (
    name       TEXT PRIMARY KEY,
    acked_seq  INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

-- Outcomes of calls that create something, by the caller's token.
CREATE TABLE client_token (
    token       TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    message     TEXT NOT NULL,            -- public id of what the first call made
    cursor_seq  INTEGER NOT NULL,         -- place in the event log before it
    created_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX client_token_by_age ON client_token (created_ms);

-- What was sealed to us and made no sense. Bounded; tried again after an upgrade.
CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    swarm       TEXT NOT NULL,
    namespace   INTEGER NOT NULL,
    hash        TEXT NOT NULL,
    reason      TEXT NOT NULL,
    data        BLOB NOT NULL,
    received_ms INTEGER NOT NULL
) STRICT;

-- How often something was refused, by reason.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
