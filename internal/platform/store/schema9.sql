-- Version 9: indexes that no other question is led astray by, and fewer of them.

-- Each index by key is one more page that every alert of a flood writes: an incident that opens is in no index of
-- those that are over.
drop index incidents_closed;
create index incidents_closed on incidents (key, closed) where closed > 0;
drop index incidents_listed; -- those that are open are the first part of incidents_old

-- Lists of runs have indexes by an expression, so that only lists use them: SQLite took runs_state for "which runs
-- are due", and read all that wait.
drop index runs_state;
create index runs_state on runs ((state || ''), id);
drop index runs_action;
create index runs_action on runs ((action || ''), id);
drop index runs_policy;
create index runs_policy on runs ((policy || ''), id);
drop index runs_target;
create index runs_target on runs ((target || ''), id);

create index runs_owned on runs (owner) where owner <> 0; -- few: the runs that are carried at this moment
