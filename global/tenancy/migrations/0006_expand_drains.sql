-- A cell that was emptied takes no new tenants either.
alter table cells drop constraint cells_state_check;
alter table cells add constraint cells_state_check check (state in ('active', 'draining', 'drained'));

-- One row per drain there ever was. By `move`, tenants take along what they have; by `route`, their cell is lost.
create table drains (
    id         uuid primary key,
    cell       text not null references cells (id) on delete cascade,
    way        text not null check (way in ('move', 'route')),
    -- Null: each tenant goes where the placement policy says.
    target     text,
    -- When it began; a step is a share of them.
    tenants    bigint not null,
    -- Why it did not go on when it was last looked at.
    problem    text,
    actor      text not null,
    started_at timestamptz not null default now(),
    ended_at   timestamptz,
    cancelled  boolean not null default false,
    check (ended_at is not null or not cancelled)
);
create unique index drains_one_of_a_cell on drains (cell) where ended_at is null;
create index drains_of_cell on drains (cell, id);
