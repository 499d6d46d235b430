-- Signs that another device of the account uses version 2 of the protocol. One row for each that was ever seen.
CREATE TABLE sign (
    kind     INTEGER PRIMARY KEY,         -- AccountWarningKind of the API
    first_ms INTEGER NOT NULL,            -- since when it stands without a break
    last_ms  INTEGER NOT NULL,            -- when it was last seen
    shown    INTEGER NOT NULL             -- 1 while it is warned of
) STRICT;
-- Payloads of later versions, which are counted whenever somebody looks.
CREATE INDEX quarantine_by_reason ON quarantine (reason);
