-- The topics this cell's sink has read, oldest first: an id is the broker's, given when a topic was
-- made. The newest is the one it reads; the others were given up by an operator.
create table topics (
    id          text primary key,
    place       bigint generated always as identity,
    accepted_at timestamptz not null default now()
);
