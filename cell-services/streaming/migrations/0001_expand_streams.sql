create table streams (
    stream_id      uuid primary key,
    tenant_id      text not null,
    name           text not null,
    -- Grows by one with every change: event ids are made from it.
    revision       bigint not null,
    schema_version integer not null,
    -- Rows acknowledged by the data bus, and rows visible in the table as the sink reports them.
    accepted_rows  bigint not null default 0,
    committed_rows bigint not null default 0,
    -- `<namespace>.<table>` as the sink reports it; null until its first commit.
    table_name     text,
    lineage_at     timestamptz,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    -- A deleted stream keeps its schemas: the sink may still have rows of it before it.
    deleted_at     timestamptz
);
create unique index streams_name on streams (tenant_id, name) where deleted_at is null;
select cyto_tenant_table('streams');

create table stream_schemas (
    stream_id  uuid not null references streams,
    version    integer not null,
    tenant_id  text not null,
    fields     jsonb not null,
    created_at timestamptz not null default now(),
    primary key (stream_id, version)
);
select cyto_tenant_table('stream_schemas');

-- Batches that came with an Idempotency-Key. `outcome` is null while the batch is being taken.
create table batches (
    stream_id  uuid not null references streams,
    key        text not null,
    tenant_id  text not null,
    claim      uuid not null,
    outcome    jsonb,
    claimed_at timestamptz not null default now(),
    primary key (stream_id, key)
);
create index batches_age on batches (claimed_at);
select cyto_tenant_table('batches');
