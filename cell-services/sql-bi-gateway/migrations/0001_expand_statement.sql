-- Statements that ran, one row per run: a ticket may be redeemed more than once.
create table statement (
    tenant_id    text not null,
    id           uuid not null,
    -- The statement's own id; the same for every run of one ticket.
    statement_id uuid not null,
    actor        text not null,
    request_id   text not null,
    -- SHA-256 in hex of the statement without its literals.
    fingerprint  text not null,
    -- The statement with `?` for every literal; null when it does not parse.
    redacted     text,
    -- `pool` or `edge`.
    route        text not null,
    -- `<namespace>.<table>` of every table read.
    tables       text[] not null,
    -- `finished`, `failed` or `abandoned` (its reader went away or cancelled it).
    state        text not null,
    -- What a failed one failed with.
    error        text,
    rows         bigint not null,
    -- Bytes sent, as Arrow.
    bytes        bigint not null,
    started_at   timestamptz not null,
    finished_at  timestamptz not null,
    primary key (tenant_id, id)
);
select cyto_tenant_table('statement');
create index statement_by_actor on statement (tenant_id, actor, id);
create index statement_by_age on statement (finished_at);
