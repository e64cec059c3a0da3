-- Version 4: what was seen of targets, for those who need to know for how long.

create table notes (
  name        text    primary key,
  value       text    not null,
  edition     integer not null, -- grows with each change
  changed     integer not null
);
