-- Version 7: bounds, counts that are kept, and retention.

alter table incidents add column name text not null default ''; -- of the alert; '' for what was closed before version 7
create index incidents_listed on incidents (id) where closed = 0;
create index incidents_old on incidents (closed, id);

create table incident_counts ( -- of open incidents, kept in the transactions that open and close them
  scope       text    not null, -- "all", or "alert" for those of one name
  name        text    not null,
  opened      integer not null, -- how many are open
  primary key (scope, name)
);
create index incident_counts_most on incident_counts (scope, opened, name);

create table floods ( -- times in which alerts found no room
  id          integer primary key,
  since       integer not null,
  last        integer not null
);

alter table dead_letters add column sender text not null default ''; -- whose they are; each pushes out its own
create index dead_letters_sender on dead_letters (sender, id);

-- What the metrics of policies count since the store was created: runs that retention has
-- deleted stay in it.
alter table runs add column came_back integer not null default 0; -- 1: it resolved an incident that came back within a day
update runs set came_back = 1 where policy <> '' and state = 'resolved' and exists (select 1 from runs n
  where n.subject = runs.subject and n.action = runs.action and n.policy = runs.policy and n.id > runs.id
  and n.begun > 0 and n.created > runs.changed and n.created <= runs.changed + 86400000);
create table policy_ends (
  policy      text    not null,
  action      text    not null,
  outcome     text    not null,
  ended       integer not null,
  primary key (policy, action, outcome)
);
insert into policy_ends (policy, action, outcome, ended)
  select policy, action, state, count(*) from runs where policy <> ''
  and state not in ('received', 'planned', 'waiting', 'awaiting_approval', 'allowed', 'applied')
  group by policy, action, state;
create table policy_sums (
  policy      text    not null,
  action      text    not null,
  acted       integer not null default 0,
  resolving   integer not null default 0, -- milliseconds from the request to the resolution
  came_back   integer not null default 0,
  primary key (policy, action)
);
insert into policy_sums (policy, action, acted, resolving, came_back)
  select policy, action, sum(case when begun > 0 then 1 else 0 end),
    sum(case when state = 'resolved' then changed - created else 0 end), sum(came_back)
  from runs where policy <> '' group by policy, action;
-- The condition is written in the journal as it is here.
create index runs_active on runs (action, state) where state in ('received', 'planned', 'waiting', 'awaiting_approval', 'allowed', 'applied');

create table checkpoints ( -- of entries that retention has deleted
  last        integer primary key, -- the number of the last of them
  first       integer not null,
  hash        text    not null, -- of the last of them: the chain goes on from it
  written     integer not null,
  signature   text    not null
);
