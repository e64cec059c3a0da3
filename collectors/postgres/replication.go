package postgres

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// The standbys and upstream of this server, and what its slots retain.
//
// Rights: pg_monitor, to see where the standbys are. Versions: 13 and later.
// Cost: a row for each standby and slot. GREATEST passes over what is null: where a
// position is not known, what is measured from it is not known either, and not 0.
const (
	standbysSQL = `
select coalesce(nullif(application_name, ''), 'unnamed'), coalesce(host(client_addr), 'local'),
       max(case when behind < 0 then 0 else behind end)::float8,
       coalesce(max(extract(epoch from replay_lag)), 0)::float8,
       count(*) filter (where state is null)
  from (select *, pg_wal_lsn_diff(case when pg_is_in_recovery() then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
          else pg_current_wal_lsn() end, replay_lsn) as behind from pg_stat_replication) senders
 group by 1, 2
 order by 1, 2`

	slotsSQL = `
select slot_name::text, slot_type, active,
       case when restart_lsn is not null then greatest(pg_wal_lsn_diff(case when pg_is_in_recovery()
         then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) else pg_current_wal_lsn() end, restart_lsn), 0) end::float8,
       coalesce(wal_status = 'lost', false),
       coalesce(greatest(age(xmin), age(catalog_xmin)), 0)::float8
  from pg_replication_slots
 order by 1`

	// A standby that has replayed all it received is not behind, however long
	// ago the primary wrote. One that is behind and has replayed no commit since its start
	// cannot say since when. One that feeds others may have sent them what it has not replayed.
	standbySQL = `
select pg_is_in_recovery(),
       case when not pg_is_in_recovery() then null
            when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
            else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) end::float8,
       case when pg_is_in_recovery() and pg_last_wal_receive_lsn() is not null then
         greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0) end::float8,
       (select count(*) from pg_stat_wal_receiver where status = 'streaming')::float8`
)

// Replication reports how far standbys are behind and what slots hold back.
func Replication(t *target.Postgres) collectors.Collector {
	c := replication{
		target: t,
		recovery: gauge("in_recovery",
			"1 when the server is a standby, 0 when it takes writes.").WithoutPanel(collectors.AdHoc),
		behind: gauge("replay_lag_seconds",
			"Replication lag of the standby by its own clock; 0 when it has replayed everything it received; absent "+
				"on a primary, and on a standby that is behind and has replayed no commit since its start."),
		behindBytes: gauge("replay_lag_bytes",
			"Write-ahead log that the standby has received and not replayed yet; absent on a primary and on a "+
				"standby that only reads archives."),
		streaming: gauge("receiver_streaming",
			"1 when the standby receives from its primary, 0 when it does not; absent on a primary."),
		lagBytes: gauge("standby_lag_bytes", "Write-ahead log that the standby has not replayed yet; absent for a "+
			"receiver that replays none, as pg_receivewal.", "standby", "address"),
		lagSeconds: gauge("standby_lag_seconds",
			"Replication lag of the standby by the primary's clock; 0 when it is idle and up to date; absent where "+
				"upkeep_postgres_standby_lag_bytes is.", "standby", "address"),
		active: gauge("slot_active", "1 when a consumer is connected to the slot, else 0.", "slot",
			"type"),
		kept: gauge("slot_kept_bytes", "Write-ahead log that is retained for the slot; absent without any.",
			"slot", "type"),
		lost: gauge("slot_lost", "1 when WAL that the slot needs was removed: its consumer must be rebuilt.",
			"slot", "type"),
		age: gauge("slot_age_xids", "Age of the oldest transaction that the slot keeps from being vacuumed.",
			"slot", "type").WithoutPanel(collectors.AdHoc),
	}
	return collectors.Collector{
		Name:   "postgres/replication",
		Target: t.Name,
		Doc: `Replication reports how far each standby is behind, and how much log and how old transactions each slot holds back.

Reads pg_stat_replication, pg_replication_slots and pg_stat_wal_receiver, once
for the whole server. Rights: pg_monitor. Cost: a row for each standby and slot.`,
		Metrics: []*collectors.Metric{c.recovery, c.behind, c.behindBytes, c.streaming, c.lagBytes, c.lagSeconds,
			c.active, c.kept,
			c.lost, c.age},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type replication struct {
	target                                   *target.Postgres
	recovery, behind, behindBytes, streaming *collectors.Metric
	lagBytes, lagSeconds                     *collectors.Metric
	active, kept, lost, age                  *collectors.Metric
}

type standbyRow struct {
	Name, Address string
	Bytes         *float64
	Seconds       float64
	Hidden        int64
}

type slotRow struct {
	Name, Type string
	Active     bool
	Kept       *float64
	Lost       bool
	Age        float64
}

type recoveryRow struct {
	Recovery  bool
	Behind    *float64
	Bytes     *float64
	Streaming float64
}

func (c replication) collect(ctx context.Context, w *collectors.Writer) error {
	name := c.target.Name
	own, err := readServer[recoveryRow](ctx, c.target, standbySQL)
	if err != nil {
		return err
	}
	for _, r := range own {
		w.Set(c.recovery, number(r.Recovery), name)
		if r.Behind != nil {
			w.Set(c.behind, *r.Behind, name)
		}
		if r.Bytes != nil {
			w.Set(c.behindBytes, *r.Bytes, name)
		}
		if r.Recovery {
			w.Set(c.streaming, r.Streaming, name)
		}
	}
	slots, err := readServer[slotRow](ctx, c.target, slotsSQL)
	if err != nil {
		return err
	}
	for _, r := range slots {
		w.Set(c.active, number(r.Active), name, r.Name, r.Type)
		w.Set(c.lost, number(r.Lost), name, r.Name, r.Type)
		w.Set(c.age, r.Age, name, r.Name, r.Type)
		if r.Kept != nil {
			w.Set(c.kept, *r.Kept, name, r.Name, r.Type)
		}
	}
	standbys, err := readServer[standbyRow](ctx, c.target, standbysSQL)
	if err != nil {
		return err
	}
	for _, r := range standbys {
		if r.Hidden > 0 {
			return hidden("the state of standbys", "pg_monitor")
		}
		if r.Bytes != nil { // nil while a base backup is sent, and of a receiver that replays nothing
			w.Set(c.lagBytes, *r.Bytes, name, r.Name, r.Address)
			w.Set(c.lagSeconds, r.Seconds, name, r.Name, r.Address)
		}
	}
	return nil
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
