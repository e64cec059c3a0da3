-- Version 8: lists of runs by what they are filtered by, and of what fires by its severity.

alter table incidents add column severity integer not null default 0; -- of the alert: remediate.Severity; 0 for what was closed before version 8
alter table incidents add column server text not null default '';     -- the label of the alert
create index incidents_firing on incidents (severity, id) where closed = 0;

-- A list of runs reads a part of one of these from the end.
drop index runs_state;
create index runs_state on runs (state, id);
create index runs_action on runs (action, id);
create index runs_policy on runs (policy, id);
create index runs_target on runs (target, id);
create index runs_created on runs (created, id);
-- The condition is written in the journal as it is here.
create index runs_shown on runs (id) where not (state = 'refused' and begun = 0 and reason in ('nothing_to_do', 'resolved', 'gone'));
