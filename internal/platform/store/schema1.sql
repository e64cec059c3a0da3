-- The store, version 1. Times are milliseconds since 1970, UTC; maps and plans are JSON.

create table episodes (
  id          integer primary key,
  key         text    not null, -- of the alert: its source and labels
  alert       text    not null, -- as last delivered
  opened      integer not null,
  seen        integer not null, -- when it was last delivered
  closed      integer not null default 0, -- 0 while open
  why         text    not null default ''
);
create unique index episodes_open on episodes (key) where closed = 0;
create index episodes_closed on episodes (key, closed);

create table runs (
  id          integer primary key,
  key         text    not null unique, -- two requests with one key are one run
  request     text    not null,
  action      text    not null,
  subject     text    not null, -- its labels as one string
  episode     integer not null default 0,
  state       text    not null,
  why         text    not null,
  plan        text    not null,
  before      real,
  after       real,
  begun       integer not null default 0,
  done        integer not null default 0,
  tries       integer not null default 0,
  due         integer not null,
  created     integer not null,
  changed     integer not null
);
create index runs_state on runs (state, due);
create index runs_episode on runs (episode);
create index runs_subject on runs (subject, action, changed);

create table entries ( -- appended, never changed
  seq         integer primary key,
  run         integer not null,
  entry       text    not null, -- JSON of the entry without seq
  hash        text    not null  -- of the hash of the entry before and of this entry
);
create index entries_run on entries (run);

create table leases (
  subject     text    primary key,
  run         integer not null, -- 0 without an owner
  fence       integer not null  -- grows each time the lease changes hands
);

create table pauses (
  scope       text    primary key, -- "all", "policy/NAME" or "target/NAME"
  reason      text    not null,
  by          text    not null,
  since       integer not null,
  until       integer not null default 0 -- 0: until somebody ends it
);
