-- How each account's database was left, kept beside it: a damaged database cannot be asked.
CREATE TABLE storage (
    handle     TEXT PRIMARY KEY,
    open       INTEGER NOT NULL,          -- 1 from opening until a clean close
    damaged    INTEGER NOT NULL,          -- 1 once a damaged page was met, until a check before serving
    checked_ms INTEGER NOT NULL,          -- 0: never
    sound      INTEGER NOT NULL           -- what that check found
) STRICT;
