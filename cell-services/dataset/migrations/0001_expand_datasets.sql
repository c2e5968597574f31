create table dataset (
    id          uuid primary key,
    tenant_id   text not null,
    name        text not null,
    description text not null,
    created_by  text not null,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    -- Of the newest committed transaction; 0 before the first.
    version     bigint not null default 0,
    rows        bigint not null default 0,
    snapshot_id bigint,
    columns     jsonb not null default '[]',
    unique (tenant_id, name)
);
select cyto_tenant_table('dataset');

create table dataset_transaction (
    id          uuid primary key,
    tenant_id   text not null,
    dataset_id  uuid not null references dataset (id) on delete cascade,
    kind        text not null check (kind in ('SNAPSHOT', 'APPEND')),
    state       text not null check (state in ('OPEN', 'COMMITTED', 'ABORTED')),
    opened_by   text not null,
    opened_at   timestamptz not null default now(),
    closed_at   timestamptz,
    -- A commit under way renews it; once it has run out, the commit may be taken up again.
    busy_until  timestamptz,
    -- Why it was aborted.
    reason      text,
    version     bigint,
    rows        bigint,
    total_rows  bigint,
    bytes       bigint,
    snapshot_id bigint,
    columns     jsonb not null default '[]',
    -- Whether its uploaded files are gone from the bucket.
    swept       boolean not null default false,
    check ((state = 'OPEN') = (closed_at is null)),
    check (state <> 'COMMITTED' or (version is not null and snapshot_id is not null))
);
select cyto_tenant_table('dataset_transaction');
create unique index dataset_transaction_one_open on dataset_transaction (dataset_id) where state = 'OPEN';
create unique index dataset_transaction_version on dataset_transaction (dataset_id, version) where version is not null;
create index dataset_transaction_of on dataset_transaction (dataset_id, id);
create index dataset_transaction_unswept on dataset_transaction (closed_at) where not swept;

create table dataset_file (
    tenant_id      text not null,
    transaction_id uuid not null references dataset_transaction (id) on delete cascade,
    path           text not null,
    bytes          bigint not null,
    format         text,
    added_at       timestamptz not null default now(),
    primary key (transaction_id, path)
);
select cyto_tenant_table('dataset_file');
