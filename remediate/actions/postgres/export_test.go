package postgres

import (
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// DropIndexAt is DropIndex by another clock.
func DropIndexAt(t *target.Postgres, now func() time.Time) remediate.Action {
	a := DropIndex(t)
	a.Executor = dropIndex{t, now}
	return a
}

// AdviseIndexesAt is AdviseIndexes by another clock.
func AdviseIndexesAt(t *target.Postgres, now func() time.Time) remediate.Action {
	a := AdviseIndexes(t)
	a.Executor = adviseIndexes{t, now}
	return a
}

// ArchiveAt is Archive by another clock.
func ArchiveAt(t *target.Postgres, now func() time.Time) remediate.Action {
	a := Archive(t)
	a.Executor = archive{retention{t, now}}
	return a
}

// PurgeAt is Purge by another clock.
func PurgeAt(t *target.Postgres, now func() time.Time) remediate.Action {
	a := Purge(t)
	a.Executor = purge{retention{t, now}}
	return a
}
