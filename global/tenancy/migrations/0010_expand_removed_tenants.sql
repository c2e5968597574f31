-- How many tenants were removed so far, and how many have left each cell. A table and a cell's list say so, and their
-- readers hold it against whom they have lost.
alter table writer add column removed bigint not null default 0 check (removed >= 0);
update writer set removed = (select count(*) from tenants where state = 'removed');

alter table cells add column departed bigint not null default 0 check (departed >= 0);

create or replace function count_tenants() returns trigger language plpgsql as $$
begin
    case tg_op
    when 'INSERT' then
        update cells c set tenants = c.tenants + n.tenants
        from (select cell, count(*) as tenants from came group by cell) n where c.id = n.cell;
    when 'DELETE' then
        update cells c set tenants = c.tenants - n.tenants, departed = c.departed + n.tenants
        from (select cell, count(*) as tenants from went group by cell) n where c.id = n.cell;
    else
        update cells c set tenants = c.tenants + n.tenants, departed = c.departed + n.departed
        from (select cell, sum(tenants) as tenants, sum(departed) as departed
              from (select n.cell, 1 as tenants, 0 as departed
                    from came n join went o using (id) where n.cell is distinct from o.cell
                    union all
                    select o.cell, -1, 1
                    from came n join went o using (id) where n.cell is distinct from o.cell) each_way
              group by cell) n
        where c.id = n.cell;
    end case;
    return null;
end $$;
