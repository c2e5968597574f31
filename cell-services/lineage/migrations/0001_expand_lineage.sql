-- Events as they came, newest by `seq`.
create table lineage_event (
    seq        bigint generated always as identity primary key,
    tenant_id  text not null,
    event_id   uuid not null,
    event_time timestamptz not null,
    run_id     uuid not null,
    -- OpenLineage RunEvent as JSON text.
    event      text not null,
    unique (tenant_id, event_id)
);
select cyto_tenant_table('lineage_event');
create index lineage_event_newest on lineage_event (tenant_id, seq);
create index lineage_event_of_run on lineage_event (tenant_id, run_id);

create table lineage_run (
    tenant_id  text not null,
    run_id     uuid not null,
    job        text not null,
    -- Of the first terminal event, else of the newest.
    state      text not null,
    started_at timestamptz,
    ended_at   timestamptz,
    primary key (tenant_id, run_id)
);
select cyto_tenant_table('lineage_run');

-- Datasets and jobs; `node` is `dataset:<namespace>:<name>` or `job:<namespace>:<name>`.
create table lineage_node (
    tenant_id  text not null,
    node       text not null,
    kind       text not null check (kind in ('DATASET', 'JOB')),
    namespace  text not null,
    name       text not null,
    -- Newest facets of a dataset, newest run of a job; JSON text.
    latest     text not null,
    first_seen timestamptz not null,
    last_seen  timestamptz not null,
    primary key (tenant_id, node)
);
select cyto_tenant_table('lineage_node');

-- Data flows from origin to destination; one of the two is a job.
create table lineage_edge (
    tenant_id   text not null,
    origin      text not null,
    destination text not null,
    last_run    uuid not null,
    last_seen   timestamptz not null,
    primary key (tenant_id, origin, destination)
);
select cyto_tenant_table('lineage_edge');
create index lineage_edge_backwards on lineage_edge (tenant_id, destination, origin);
