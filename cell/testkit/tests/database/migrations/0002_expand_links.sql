-- Rows that are never changed, each of which holds what came before it.
create table link (
    tenant_id text not null,
    number    bigint not null,
    before    text not null,
    name      text not null,
    primary key (tenant_id, number)
);
select cyto_tenant_table('link');
