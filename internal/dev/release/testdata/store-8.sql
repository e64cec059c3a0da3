-- A store of version 8, as upkeep left it: runs, a pause, and their journal.
BEGIN TRANSACTION;
CREATE TABLE approvals (
  run         integer primary key,
  plan        text    not null, -- the hash of the plan that was approved
  approver    text    not null,
  said        integer not null,
  until       integer not null
, amount text not null default '');
CREATE TABLE books ( -- every edition of the policies that has decided something
  hash        text    primary key,
  book        text    not null
);
CREATE TABLE calendars ( -- since when each schedule counts
  schedule    text    primary key,
  expression  text    not null, -- cron and time zone; another one counts from anew
  since       integer not null
);
CREATE TABLE checkpoints ( -- of entries that retention has deleted
  last        integer primary key, -- the number of the last of them
  first       integer not null,
  hash        text    not null, -- of the last of them: the chain goes on from it
  written     integer not null,
  signature   text    not null
);
CREATE TABLE "dead_letters" ( -- deliveries that could not be read
  id          integer primary key,
  received    integer not null,
  remote      text    not null,
  source      text    not null, -- "alertmanager", "grafana"
  status      integer not null, -- that was answered
  error       text    not null,
  body        blob    not null, -- at most the first 64 KiB
  size        integer not null  -- of the whole body
, sender text not null default '');
CREATE TABLE deliveries ( -- of a notice to a notifier, from the first try on
  notifier    text    not null,
  notification      integer not null,
  tries       integer not null default 0, -- how often this very notice was refused
  due         integer not null default 0, -- not tried again before
  claimed     integer not null default 0, -- until then a replica is at it
  ended       integer not null default 0, -- when it was delivered or given up; 0 before
  error       text    not null default '',
  primary key (notifier, notification)
);
CREATE TABLE entries ( -- appended, never changed
  seq         integer primary key,
  run         integer not null,
  entry       text    not null, -- JSON of the entry without seq
  hash        text    not null  -- of the hash of the entry before and of this entry
);
INSERT INTO "entries" VALUES(1,1,'{"seq":0,"run":1,"at":"2026-11-30T14:23:18.026985526Z","to":"received","why":"asked for by token/admin (claims to be root)","digest":"1072d988ee21899c96ca89bb92247022"}','f551f76bc263393c93304e0aa220830bf88d9c7ba2118ad521c62fa8e1bd845a');
INSERT INTO "entries" VALUES(2,1,'{"seq":0,"run":1,"at":"2026-11-30T14:23:18.134851895Z","from":"received","to":"planned","why":"1 step, plan ad548397cdf57bfe","digest":"8cb80d723f83596d61e91fd776532859"}','e2fa89e40e665226cca7b1de04c65be62907d5696010cf6536db0b191e442d9b');
INSERT INTO "entries" VALUES(3,1,'{"seq":0,"run":1,"at":"2026-11-30T14:23:18.142488642Z","from":"planned","to":"allowed","why":"all guards passed","digest":"8cb80d723f83596d61e91fd776532859"}','ef3e54349210c0469d54f02fd8f09af6fbbe326afc61ed0ed66ac96a941ad4f1');
INSERT INTO "entries" VALUES(4,1,'{"seq":0,"run":1,"at":"2026-11-30T14:23:18.165817449Z","from":"allowed","to":"allowed","step":1,"why":"BGSAVE","digest":"8cb80d723f83596d61e91fd776532859"}','f620bf53f32dc8ba21903b01958feb3e4e2fecd83d8ae58bcb9dd80e80022d3b');
INSERT INTO "entries" VALUES(5,1,'{"seq":0,"run":1,"at":"2026-11-30T14:23:18.327990022Z","from":"allowed","to":"allowed","step":1,"done":true,"why":"took 137ms","digest":"8cb80d723f83596d61e91fd776532859"}','95705af73be865d12c39470fb817b4ae8bff7970c1c36a1565a0aaef080eadd7');
INSERT INTO "entries" VALUES(6,1,'{"seq":0,"run":1,"at":"2026-11-30T14:23:18.337391032Z","from":"allowed","to":"applied","why":"1 step done","digest":"8cb80d723f83596d61e91fd776532859"}','2a662225a3aa3e86bdc96dca14abb77c55441ebf195f16bf5e53a257c1420327');
INSERT INTO "entries" VALUES(7,1,'{"seq":0,"run":1,"at":"2026-11-30T14:23:18.345107Z","from":"applied","to":"resolved","why":"upkeep_redis_snapshot_age_seconds went from 1.13s to 340ms, limit 24h0m0s","digest":"8cb80d723f83596d61e91fd776532859","case":{"kind":"judge","evidence":{"metric":"upkeep_redis_snapshot_age_seconds","before":1.125187,"after":0.343903,"limit":86400,"since":6279206,"settle":3000000000,"horizon":300000000000},"verdict":{"state":"resolved","why":"upkeep_redis_snapshot_age_seconds went from 1.13s to 340ms, limit 24h0m0s"}}}','28890d76f9170bffe8d8081b652163f7e4b7cfd83dfaa77b3d5f181c7738b83f');
INSERT INTO "entries" VALUES(8,2,'{"seq":0,"run":2,"at":"2026-11-30T14:23:18.592865898Z","to":"received","why":"asked for by token/admin (claims to be root)","digest":"c80abc51c015a6d2a24a2fbeea7a7859"}','9d6cefbf72752df21b5ab394ee34c8599be136b1463809782561438dff66806e');
INSERT INTO "entries" VALUES(9,2,'{"seq":0,"run":2,"at":"2026-11-30T14:23:18.634354696Z","from":"received","to":"planned","why":"1 step, plan 2da04e9f0f4834c1","digest":"5b3e52210022f67134c76fc2b08d792d"}','d9b15c446f18f9c5e5ea975f92bc69460ad6a0f2f0248767e063c2d09405f3c4');
INSERT INTO "entries" VALUES(10,2,'{"seq":0,"run":2,"at":"2026-11-30T14:23:18.677673002Z","from":"planned","to":"allowed","why":"all guards passed","digest":"5b3e52210022f67134c76fc2b08d792d"}','a415580458256b59e7dca72c27a050a573b93d6b98a91f771131bb5d2d8c6a3d');
INSERT INTO "entries" VALUES(11,2,'{"seq":0,"run":2,"at":"2026-11-30T14:23:18.689874216Z","from":"allowed","to":"allowed","step":1,"why":"MEMORY PURGE","digest":"5b3e52210022f67134c76fc2b08d792d"}','c770be0dac2140a4ed7736077e0a3e38b549cb0b1163ae7d075dc4b5760de719');
INSERT INTO "entries" VALUES(12,2,'{"seq":0,"run":2,"at":"2026-11-30T14:23:19.774168407Z","from":"allowed","to":"allowed","step":1,"done":true,"why":"took 1.083s","digest":"5b3e52210022f67134c76fc2b08d792d"}','cc36f45d7bfce7c4f643e494419a956b3dd0e1a86a29db6f3a36d380e61893b6');
INSERT INTO "entries" VALUES(13,2,'{"seq":0,"run":2,"at":"2026-11-30T14:23:19.887656963Z","from":"allowed","to":"applied","why":"1 step done","digest":"5b3e52210022f67134c76fc2b08d792d"}','d0278b5825bf43a143364927edae0e19d06a30738c6dbf5c7e23cadb2a38bbcc');
INSERT INTO "entries" VALUES(14,2,'{"seq":0,"run":2,"at":"2026-11-30T14:23:19.909674829Z","from":"applied","to":"resolved","why":"upkeep_redis_memory_retained_bytes went from 2.55 MiB to 2.55 MiB, limit 256 MiB","digest":"5b3e52210022f67134c76fc2b08d792d","case":{"kind":"judge","evidence":{"metric":"upkeep_redis_memory_retained_bytes","before":2670592,"after":2670592,"limit":268435456,"since":3455758,"settle":3000000000,"horizon":300000000000},"verdict":{"state":"resolved","why":"upkeep_redis_memory_retained_bytes went from 2.55 MiB to 2.55 MiB, limit 256 MiB"}}}','6616848718d3c22b88cfc34aa4f6c92a307208a66c8d855d1dbeea872d5f48c9');
INSERT INTO "entries" VALUES(15,0,'{"seq":0,"at":"2026-11-30T14:23:20.34897117Z","note":"paused","by":"token/admin (claims to be root)","why":"action/redis/defrag: until the upgrade","about":"action/redis/defrag"}','c9ce98ac7c7454533d6b8c1abd1c0b3fda124684bcbea756dea3688c06248303');
INSERT INTO "entries" VALUES(16,0,'{"seq":0,"at":"2026-11-30T14:23:20.836534946Z","note":"paused","by":"token/admin (claims to be root)","why":"all: a minute","about":"all"}','3f019be2bd0b028a08d977ff05223dac791ba2788dd9836edfa84dd74b17e0b6');
INSERT INTO "entries" VALUES(17,0,'{"seq":0,"at":"2026-11-30T14:23:21.097486983Z","note":"resumed","by":"token/admin (claims to be root)","why":"all","about":"all"}','0cb41f555723858ebf4ea0b0e66cd132dc565e7e67a8ee7d46ecc5494899b6aa');
CREATE TABLE fences (
  id          integer primary key,
  last        integer not null
);
INSERT INTO "fences" VALUES(1,3);
CREATE TABLE floods ( -- times in which alerts found no room
  id          integer primary key,
  since       integer not null,
  last        integer not null
);
CREATE TABLE incident_counts ( -- of open incidents, kept in the transactions that open and close them
  scope       text    not null, -- "all", or "alert" for those of one name
  name        text    not null,
  opened      integer not null, -- how many are open
  primary key (scope, name)
);
INSERT INTO "incident_counts" VALUES('all','',0);
CREATE TABLE "incidents" (
  id          integer primary key,
  key         text    not null, -- of the alert: its source and labels
  alert       text    not null, -- as last delivered
  opened      integer not null,
  seen        integer not null, -- when it was last delivered
  closed      integer not null default 0, -- 0 while open
  why         text    not null default ''
, ripe integer not null default 0, flaps integer not null default 0, settled text not null default '', name text not null default '', severity integer not null default 0, server text not null default '');
CREATE TABLE instances ( -- the processes that work on this store
  id          integer primary key,
  name        text    not null, -- host and process, for people
  expires     integer not null  -- renewed while it lives; others remove it when it has expired
);
CREATE TABLE notes (
  name        text    primary key,
  value       text    not null,
  edition     integer not null, -- grows with each change
  changed     integer not null
);
INSERT INTO "notes" VALUES('hearing of the inbox','{"last":1796048597556,"deaf":[[0,1796048597556]]}',1,1796048597566);
CREATE TABLE "notifications" (
  id          integer primary key,
  key         text    not null unique, -- each is delivered once
  notification      text    not null,
  created     integer not null,
  due         integer not null  -- not delivered before
);
CREATE TABLE notifiers ( -- the recipients
  name        text    primary key,
  since       integer not null -- earlier notices are delivered, given up, or were never for it
);
CREATE TABLE occurrences ( -- each occurrence of a schedule, once
  schedule    text    not null,
  at          integer not null,
  state       text    not null, -- "run", "late", "skipped"
  why         text    not null default '',
  runs        text    not null default '[]', -- their numbers, as JSON
  written     integer not null,
  primary key (schedule, at)
);
CREATE TABLE pauses (
  scope       text    primary key, -- "all", "policy/NAME" or "target/NAME"
  reason      text    not null,
  by          text    not null,
  since       integer not null,
  until       integer not null default 0 -- 0: until somebody ends it
);
INSERT INTO "pauses" VALUES('action/redis/defrag','until the upgrade','token/admin (claims to be root)',1796048600348,0);
CREATE TABLE policy_ends (
  policy      text    not null,
  action      text    not null,
  outcome     text    not null,
  ended       integer not null,
  primary key (policy, action, outcome)
);
CREATE TABLE "policy_states" ( -- the state of policies that differs from their configuration
  policy      text    primary key,
  demoted     integer not null default 0, -- since when it asks instead of acting; 0: it does not
  why         text    not null default '',
  breaker     integer not null default 0, -- ends of runs before this moment do not count for the breaker
  effect      integer not null default 0  -- nor do these for the measured effect
);
CREATE TABLE policy_sums (
  policy      text    not null,
  action      text    not null,
  acted       integer not null default 0,
  resolving   integer not null default 0, -- milliseconds from the request to the resolution
  came_back   integer not null default 0,
  primary key (policy, action)
);
CREATE TABLE runs (
  id          integer primary key,
  key         text    not null unique, -- two requests with one key are one run
  request     text    not null,
  action      text    not null,
  subject     text    not null, -- its labels as one string
  incident     integer not null default 0,
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
, policy text not null default '', target text not null default '', exclusive text not null default '', reason text not null default '', owner integer not null default 0, fence integer not null default 0, cancel text not null default '', applied integer not null default 0, lost integer not null default 0, came_back integer not null default 0);
INSERT INTO "runs" VALUES(1,'person/token/admin/UEYI26WDEWNGULHJA5W4WVLMQ6','{"key":"person/token/admin/UEYI26WDEWNGULHJA5W4WVLMQ6","action":"redis/bgsave","subject":{"server":"cache"},"limit":86400,"mode":"auto","by":"token/admin (claims to be root)"}','redis/bgsave','server="cache"',0,'resolved','upkeep_redis_snapshot_age_seconds went from 1.13s to 340ms, limit 24h0m0s','{"steps":[{"do":"BGSAVE","args":{"last_save":"1796048597","run_id":"daa1077ef25621c702aee1c5653b4750a1baebc9","saves":"0"}}],"facts":["the disk of the server''s folder has 49.5 GiB free; a snapshot takes 1.05 MiB at most","1 changes are in no snapshot","no snapshot has succeeded since the start"]}',1.125187,0.343903,1,1,0,0,1796048598026,1796048598345,'','cache','server="cache"','',0,2,'',1796048598337,0,0);
INSERT INTO "runs" VALUES(2,'person/token/admin/Z4PX4OZF2TYZT6K557SZ5ILUMK','{"key":"person/token/admin/Z4PX4OZF2TYZT6K557SZ5ILUMK","action":"redis/purge_memory","subject":{"server":"cache"},"limit":268435456,"mode":"auto","by":"token/admin (claims to be root)"}','redis/purge_memory','server="cache"',0,'resolved','upkeep_redis_memory_retained_bytes went from 2.55 MiB to 2.55 MiB, limit 256 MiB','{"steps":[{"do":"MEMORY PURGE","args":{"run_id":"daa1077ef25621c702aee1c5653b4750a1baebc9"}}],"facts":["the allocator holds 2.55 MiB that it does not use; the server uses 1.12 MiB and has 11.8 MiB of the machine''s memory"]}',2670592.0,2670592.0,1,1,0,0,1796048598592,1796048599909,'','cache','server="cache"','',0,3,'',1796048599887,0,0);
CREATE TABLE secrets (
  name        text    primary key,
  value       text    not null
);
INSERT INTO "secrets" VALUES('approval links','fc0acd0bab0a17083ee7497d1e820a1995ab66c6d5e51ffc01af497dc6145094');
CREATE TABLE silences ( -- held while a run works
  run         integer primary key,
  id          text    not null, -- Alertmanager's
  until       integer not null
);
CREATE INDEX runs_subject on runs (subject, action, changed);
CREATE INDEX entries_run on entries (run);
CREATE INDEX runs_acting on runs (id) where state in ('allowed', 'applied');
CREATE INDEX runs_waiting on runs (reason, id) where state = 'waiting';
CREATE INDEX runs_waiting_target on runs (reason, target, id) where state = 'waiting';
CREATE INDEX runs_due on runs (due, id) where owner = 0 and state in ('received', 'planned', 'waiting', 'awaiting_approval', 'allowed', 'applied');
CREATE INDEX runs_ended on runs (policy, changed, id) where begun > 0 and state in ('resolved', 'unresolved', 'inconclusive', 'refused', 'rejected', 'expired', 'observed', 'cancelled', 'failed');
CREATE UNIQUE INDEX incidents_open on incidents (key) where closed = 0;
CREATE INDEX incidents_closed on incidents (key, closed);
CREATE INDEX incidents_ripe on incidents (closed, settled, ripe);
CREATE INDEX runs_incident on runs (incident);
CREATE INDEX notifications_created on notifications (created);
CREATE INDEX incidents_listed on incidents (id) where closed = 0;
CREATE INDEX incidents_old on incidents (closed, id);
CREATE INDEX incident_counts_most on incident_counts (scope, opened, name);
CREATE INDEX dead_letters_sender on dead_letters (sender, id);
CREATE INDEX runs_active on runs (action, state) where state in ('received', 'planned', 'waiting', 'awaiting_approval', 'allowed', 'applied');
CREATE INDEX incidents_firing on incidents (severity, id) where closed = 0;
CREATE INDEX runs_state on runs (state, id);
CREATE INDEX runs_action on runs (action, id);
CREATE INDEX runs_policy on runs (policy, id);
CREATE INDEX runs_target on runs (target, id);
CREATE INDEX runs_created on runs (created, id);
CREATE INDEX runs_shown on runs (id) where not (state = 'refused' and begun = 0 and reason in ('nothing_to_do', 'resolved', 'gone'));
COMMIT;
pragma user_version = 8;
