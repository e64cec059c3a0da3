-- Version 5: the states of a condition are in the order of remediate.States.

-- The condition is written in the journal as it is here.
drop index runs_ended;
create index runs_ended on runs (policy, changed, id) where begun > 0 and state in ('cleared', 'uncleared', 'inconclusive', 'declined', 'failed');
