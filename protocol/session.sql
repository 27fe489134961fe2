-- A session file: everything that happened, in the order in which the loop saw it.
-- SQLite 3; integers are signed 64 bit (a hash above 2^63 appears negative).

-- What the session is: version, configuration, seed, compiler, machine, start, end.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Images and models by content hash, each once.
CREATE TABLE blob (
    hash INTEGER PRIMARY KEY,
    kind TEXT NOT NULL, -- 'stimulus': payload of stimulus and result events; 'model'
    body BLOB NOT NULL
) STRICT;

-- One row an event: head is header and fields as PROTOCOL.md lays them out, then the
-- payload, unless that is an image, which is the blob.
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    type INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    body BLOB NOT NULL,
    blob INTEGER REFERENCES blob (hash),
    chain INTEGER NOT NULL -- hash of this event and all before it
) STRICT;

CREATE INDEX event_type ON event (type);
