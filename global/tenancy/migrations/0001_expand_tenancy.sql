create table organisations (
    id         text primary key,
    name       text not null check (length(name) between 1 and 200),
    created_at timestamptz not null default now()
);

create table cells (
    id           text primary key,
    http         text not null unique,
    flight       text not null unique,
    kind         text not null check (kind in ('shared', 'dedicated')),
    -- The one organisation of a dedicated cell; null until its first tenant.
    organisation text references organisations (id),
    state        text not null default 'active' check (state in ('active', 'draining')),
    created_at   timestamptz not null default now(),
    check (kind = 'dedicated' or organisation is null)
);

-- An id is never free again: it stands in object prefixes and topics long after the tenant is gone.
create table tenants (
    id           text primary key,
    organisation text not null references organisations (id),
    state        text not null default 'active' check (state in ('active', 'removed')),
    cell         text references cells (id),
    generation   bigint not null check (generation > 0),
    created_at   timestamptz not null default now(),
    check ((state = 'removed') = (cell is null))
);
create index tenants_by_organisation on tenants (organisation, id);
create index tenants_by_cell on tenants (cell);

create table hosts (
    host   text primary key check (host = lower(host)),
    tenant text not null references tenants (id)
);
create index hosts_by_tenant on hosts (tenant);

-- Every placement there ever was. Generations are unique across tenants.
create table placements (
    generation bigint primary key,
    tenant     text not null references tenants (id),
    cell       text not null,
    placed_at  timestamptz not null default now()
);
create index placements_by_tenant on placements (tenant, generation);

-- The elected writer. A process that holds the session lock raises the term; a write that was
-- begun under an older term is refused in its own transaction.
create table writer (
    one        boolean primary key default true check (one),
    term       bigint not null,
    generation bigint not null,
    version    bigint not null
);
insert into writer (term, generation, version) values (0, 0, 0);

-- Append-only; `version` has no gaps, because the writer's row is locked while it is issued.
create table routing_log (
    version    bigint primary key,
    change     jsonb not null,
    actor      text not null,
    changed_at timestamptz not null default now()
);

create function routing_log_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the routing log is append-only';
end $$;
create trigger routing_log_is_append_only before update or delete or truncate on routing_log
    for each statement execute function routing_log_is_append_only();

create table contract_bundles (
    version      integer primary key,
    document     text not null,
    sha256       text not null,
    published_at timestamptz not null default now()
);

-- The newest report of each cell.
create table cell_reports (
    cell              text primary key references cells (id) on delete cascade,
    contracts_version integer not null,
    contracts_sha256  text not null,
    drift             text[] not null,
    reported_at       timestamptz not null default now()
);
