-- The generation at which a tenant that its cell lets in no more is entered again; null when it is not leaving.
alter table tenants add column leaving bigint;

-- One row per move there ever was. The step is written before it is begun: after a crash it is done again.
create table moves (
    id         uuid primary key,
    tenant     text not null references tenants (id),
    source     text not null,
    target     text not null,
    step       text not null check (step in
        ('copy', 'close', 'fence', 'settle', 'carry', 'switch', 'clean', 'back', 'done', 'cancelled')),
    -- Issued with `close`.
    generation bigint,
    -- Why the step did not succeed when it was last tried.
    problem    text,
    actor      text not null,
    started_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    -- From the tenant's last request in its old cell to its first in the new one, at the longest.
    closed_at  timestamptz,
    opened_at  timestamptz,
    check (generation is not null or step in ('copy', 'close', 'back', 'cancelled'))
);
create unique index moves_one_of_a_tenant on moves (tenant) where step not in ('done', 'cancelled');
create index moves_of_tenant on moves (tenant, id);
create index moves_under_way on moves (started_at) where step not in ('done', 'cancelled');
