-- Version 3: runs that are held against the present, and approvals of an amount.

alter table approvals add column amount text not null default ''; -- what the approved plan expected to remove, as JSON; '' where nothing

alter table runs add column lost integer not null default 0; -- owners in a row that ended without a word in the step that is begun, which made no progress

-- Runs that were stopped while they acted have acted too. The condition is written in
-- the journal as it is here.
drop index runs_ended;
create index runs_ended on runs (policy, changed, id) where begun > 0 and state in ('cleared', 'uncleared', 'inconclusive', 'failed', 'declined');
