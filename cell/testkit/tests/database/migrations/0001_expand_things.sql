create table thing (
    tenant_id text not null,
    name      text not null,
    primary key (tenant_id, name)
);
select cyto_tenant_table('thing');
