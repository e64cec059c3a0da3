-- Version 9: an incident that opens is in no index of those that are over. Each index by key is one more page
-- that every alert of a flood writes.

drop index incidents_closed;
create index incidents_closed on incidents (key, closed) where closed > 0;
drop index incidents_listed; -- those that are open are the first part of incidents_old
