-- Version 10: the counts of servers are in no index of alerts' names.

-- It served "the names with the most" only. SQLite took it for "the counts of these servers" as well, since it has all
-- columns of them, and read those of all servers: a million after a flood. Each new server was one more page of it.
-- Its first column is an expression, as of the lists of runs: no other question is led to it.
drop index incident_counts_most;
create index incident_counts_most on incident_counts ((scope || ''), opened, name) where scope = 'alert';
