-- Version 6: the names of the trade. The entries of the journal keep the names that they were
-- written with, since each carries the hash of the one before: they are mapped when they are read.

update runs set state = 'awaiting_approval' where state = 'asked';
update runs set state = 'resolved' where state = 'cleared';
update runs set state = 'unresolved' where state = 'uncleared';
update runs set state = 'rejected' where state = 'declined' and reason = 'person';
update runs set state = 'expired' where state = 'declined' and reason = 'unanswered';
update runs set state = 'observed' where state = 'declined' and reason = 'observe';
update runs set state = 'cancelled' where state in ('declined', 'failed') and reason = 'cancelled';
update runs set state = 'refused' where state = 'declined';
update runs set key = 'incident/' || substr(key, 9) where key like 'episode/%';

-- The conditions are written in the journal as they are here.
drop index runs_due;
create index runs_due on runs (due, id) where owner = 0 and state in ('received', 'planned', 'waiting', 'awaiting_approval', 'allowed', 'applied');
drop index runs_ended;
create index runs_ended on runs (policy, changed, id) where begun > 0 and state in ('resolved', 'unresolved', 'inconclusive', 'refused', 'rejected', 'expired', 'observed', 'cancelled', 'failed');

alter table episodes rename to incidents;
alter table runs rename column episode to incident;
drop index episodes_open;
create unique index incidents_open on incidents (key) where closed = 0;
drop index episodes_closed;
create index incidents_closed on incidents (key, closed);
drop index episodes_ripe;
create index incidents_ripe on incidents (closed, settled, ripe);
drop index runs_episode;
create index runs_incident on runs (incident);

alter table letters rename to dead_letters;
alter table standings rename to policy_states;
alter table notices rename to notifications;
alter table notifications rename column notice to notification;
alter table deliveries rename column notice to notification;
drop index notices_created;
create index notifications_created on notifications (created);
