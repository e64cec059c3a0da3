package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
)

// store looks at the database of the journal and the inbox.
func (v visit) store(ctx context.Context, address string, password func() (string, error)) {
	config, err := pgx.ParseConfig(address)
	if err == nil && password != nil {
		config.Password, err = password()
	}
	if err != nil {
		v.unreachable(ctx, "", err)
		return
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		v.unreachable(ctx, "", err)
		return
	}
	defer func() { _ = conn.Close(ctx) }() // nothing was written
	var version, user, database string
	var there, may bool
	err = conn.QueryRow(ctx,
		`select split_part(current_setting('server_version'), ' ', 1), current_user::text,
		current_database()::text, s.there,
		case when s.there then pg_catalog.has_schema_privilege('upkeep', 'usage')
		and pg_catalog.has_schema_privilege('upkeep', 'create') else pg_catalog.has_database_privilege(current_database(), 'create') end
		from (select exists (select 1 from pg_catalog.pg_namespace where nspname = 'upkeep') as there) s`).
		Scan(&version, &user, &database, &there, &may)
	if err != nil {
		v.unreachable(ctx, "", err)
		return
	}
	v.seen.Text = fmt.Sprintf("PostgreSQL %s as %s, database %s", version, user, database)
	role := pgx.Identifier{user}.Sanitize()
	switch {
	case there && !may:
		v.fault(v.at, "the store: %s may not use the schema upkeep of database %s; run: grant usage, create on "+
			"schema upkeep to %s", role, database, role)
	case !may:
		v.fault(v.at, "the store: %s may not make the schema upkeep in database %s; run: create schema upkeep "+
			"authorization %s", role, database, role)
	}
}

// bucket looks whether the key lets objects be listed. Nothing has such a name.
func (v visit) bucket(ctx context.Context, store depot.Store) {
	if _, err := store.List(ctx, "upkeep-check-"); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		v.fault(v.at, "%s does not let upkeep list its objects: %s; look at endpoint, region, virtual_host and the "+
			"key, which needs s3:ListBucket, s3:GetObject and s3:PutObject", v.seen.What,
			strings.Join(strings.Fields(err.Error()), " "))
		return
	}
	v.seen.Text = "lists its objects"
}
