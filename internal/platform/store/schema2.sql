-- Version 2: several replicas, people's answers, notices, schedules.

create table instances ( -- the processes that work on this store
  id          integer primary key,
  name        text    not null, -- host and process, for people
  expires     integer not null  -- renewed while it lives; others remove it when it has expired
);

-- The runs that act show what of a subject is taken; a fence grows each time
-- any run changes hands.
drop table leases;
create table fences (
  id          integer primary key,
  last        integer not null
);
insert into fences (id, last) values (1, 0);

alter table runs add column policy text not null default '';
alter table runs add column target text not null default '';    -- the subject's server
alter table runs add column exclusive text not null default ''; -- the part of the subject that no other run may work on
alter table runs add column reason text not null default '';    -- of the last entry
alter table runs add column owner integer not null default 0;   -- the instance that owns it; 0: none
alter table runs add column fence integer not null default 0;   -- grows each time it is claimed
alter table runs add column cancel text not null default '';    -- who wants it to stop, and why
alter table runs add column applied integer not null default 0; -- when the last step was done
-- The engine's own questions, whose conditions are written there as they are here.
create index runs_due on runs (due, id) where owner = 0 and state in ('received', 'planned', 'asked', 'waiting', 'allowed', 'applied');
create index runs_ended on runs (policy, changed, id) where begun > 0 and state in ('cleared', 'uncleared', 'inconclusive', 'failed');
create index runs_acting on runs (id) where state in ('allowed', 'applied');
create index runs_waiting on runs (reason, id) where state = 'waiting';
create index runs_waiting_target on runs (reason, target, id) where state = 'waiting';

alter table episodes add column ripe integer not null default 0;         -- nothing is decided before
alter table episodes add column flaps integer not null default 0;
alter table episodes add column settled text not null default '';        -- the edition of the policies that has nothing more to say to it, or nothing until its run has ended
create index episodes_ripe on episodes (closed, settled, ripe);

create table approvals (
  run         integer primary key,
  plan        text    not null, -- the hash of the plan that was approved
  approver    text    not null,
  said        integer not null,
  until       integer not null
);

create table standings ( -- the state of policies that differs from their configuration
  policy      text    primary key,
  demoted     integer not null default 0, -- since when it asks instead of acting; 0: it does not
  why         text    not null default '',
  breaker     integer not null default 0, -- ends of runs before this moment do not count for the breaker
  effect      integer not null default 0  -- nor do these for the measured effect
);

create table books ( -- every edition of the policies that has decided something
  hash        text    primary key,
  book        text    not null
);

create table notices (
  id          integer primary key,
  key         text    not null unique, -- each is delivered once
  notice      text    not null,
  created     integer not null,
  due         integer not null  -- not delivered before
);
create index notices_created on notices (created);
create table notifiers ( -- the recipients
  name        text    primary key,
  since       integer not null -- earlier notices are delivered, given up, or were never for it
);
create table deliveries ( -- of a notice to a notifier, from the first try on
  notifier    text    not null,
  notice      integer not null,
  tries       integer not null default 0, -- how often this very notice was refused
  due         integer not null default 0, -- not tried again before
  claimed     integer not null default 0, -- until then a replica is at it
  ended       integer not null default 0, -- when it was delivered or given up; 0 before
  error       text    not null default '',
  primary key (notifier, notice)
);

create table letters ( -- deliveries that could not be read
  id          integer primary key,
  received    integer not null,
  remote      text    not null,
  source      text    not null, -- "alertmanager", "grafana"
  status      integer not null, -- that was answered
  error       text    not null,
  body        blob    not null, -- at most the first 64 KiB
  size        integer not null  -- of the whole body
);

create table occurrences ( -- each occurrence of a schedule, once
  schedule    text    not null,
  at          integer not null,
  state       text    not null, -- "run", "late", "skipped"
  why         text    not null default '',
  runs        text    not null default '[]', -- their numbers, as JSON
  written     integer not null,
  primary key (schedule, at)
);
create table calendars ( -- since when each schedule counts
  schedule    text    primary key,
  expression  text    not null, -- cron and time zone; another one counts from anew
  since       integer not null
);

create table silences ( -- held while a run works
  run         integer primary key,
  id          text    not null, -- Alertmanager's
  until       integer not null
);

create table secrets (
  name        text    primary key,
  value       text    not null
);
