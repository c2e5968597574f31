-- A cell's life: requested, serving, draining, drained, retired. `active` is what `serving` was called; a cell is stored
-- under its new name when it is next written.
alter table cells drop constraint cells_state_check;
alter table cells add constraint cells_state_check
    check (state in ('active', 'requested', 'serving', 'draining', 'drained', 'retired'));
-- The address of a cell that is retired is another's to take.
alter table cells drop constraint cells_http_key;
alter table cells drop constraint cells_flight_key;
create unique index cells_http on cells (http) where state <> 'retired';
create unique index cells_flight on cells (flight) where state <> 'retired';

-- Tenants of one organisation with the same word here are never in one cell.
alter table tenants add column apart text check (length(apart) between 1 and 63);
create index tenants_apart on tenants (organisation, apart) where apart is not null;

-- Where TLS of its tenants' own domains ends, if not at the routers.
alter table cells add column door text;
