-- One row per stream that has a table. Progress is the table's own; what stands here is for showing
-- and for telling others, and may be one commit behind after a crash.
create table sinks (
    stream_id      uuid primary key,
    tenant_id      text not null,
    name           text not null,
    -- Name in namespace `streams`.
    table_name     text not null,
    rows           bigint not null default 0,
    offsets        jsonb not null default '{}',
    snapshot_id    bigint,
    dead_letters   bigint not null default 0,
    lineage_at     timestamptz,
    last_commit_at timestamptz,
    created_at     timestamptz not null default now(),
    deleted_at     timestamptz
);
create index sinks_of_tenant on sinks (tenant_id, name, stream_id);
select cyto_tenant_table('sinks');
