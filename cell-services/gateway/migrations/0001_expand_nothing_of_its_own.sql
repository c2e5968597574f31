-- The gateway keeps nothing but its outbox, which the kit makes.
select 1;
