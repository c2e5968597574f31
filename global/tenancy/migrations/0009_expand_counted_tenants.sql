-- How many tenants a cell has. Kept, because every placement asks for it of all cells, and counting a million takes
-- longer than placing one. Changes of tenants are the writer's, one after the other, so the cell's row is nobody's wait.
alter table cells add column tenants bigint not null default 0 check (tenants >= 0);
update cells c set tenants = (select count(*) from tenants t where t.cell = c.id);

create function count_tenants() returns trigger language plpgsql as $$
begin
    case tg_op
    when 'INSERT' then
        update cells c set tenants = c.tenants + n.tenants
        from (select cell, count(*) as tenants from came group by cell) n where c.id = n.cell;
    when 'DELETE' then
        update cells c set tenants = c.tenants - n.tenants
        from (select cell, count(*) as tenants from went group by cell) n where c.id = n.cell;
    else
        update cells c set tenants = c.tenants + n.tenants
        from (select cell, sum(tenants) as tenants
              from (select cell, 1 as tenants from came union all select cell, -1 from went) each_way
              group by cell having sum(tenants) <> 0) n
        where c.id = n.cell;
    end case;
    return null;
end $$;
create trigger count_tenants_that_came after insert on tenants
    referencing new table as came for each statement execute function count_tenants();
create trigger count_tenants_that_moved after update on tenants
    referencing new table as came old table as went for each statement execute function count_tenants();
create trigger count_tenants_that_went after delete on tenants
    referencing old table as went for each statement execute function count_tenants();

-- The next of a cell's tenants by name, without sorting all of them.
create index tenants_of_cell on tenants (cell, id);
drop index tenants_by_cell;
