package relation_test

import (
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
)

// Unfit refuses what the server would refuse because of a publication, and no more.
func TestUnfitAgreesWithTheServer(t *testing.T) {
	for _, version := range []string{"13", "", "18"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			c := serve(t, version)
			run(t, c, `create table t (id int primary key, kind text not null, extra int);
				create unique index t_kind on t (kind) include (extra);
				create table p (id int not null, at int not null, kind text not null) partition by range (at);
				create table p0 (kind text not null, id int not null, at int not null);
				alter table p attach partition p0 for values from (0) to (100);
				alter table p add primary key (id, at)`)
			reader, err := relation.NewReader(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			oids := oidsOf(t, c, "t", "p0")
			refused := 0
			for _, tt := range []struct {
				on, do, undo string
				since        int
			}{
				{on: "t", do: "create publication b for table t"},
				{on: "t", do: "create publication b for table t; alter table t replica identity nothing",
					undo: "alter table t replica identity default"},
				{on: "t", do: "create publication b for table t with (publish = 'insert'); alter table t replica " +
					"identity nothing", undo: "alter table t replica identity default"},
				{on: "t", do: "create publication b for table t with (publish = 'update'); alter table t replica " +
					"identity nothing", undo: "alter table t replica identity default"},
				{on: "t", do: "create publication b for all tables"},
				{on: "t", since: 15, do: "create publication b for tables in schema public"},
				{on: "t", since: 15, do: "create publication b for table t where (id > 1)"},
				{on: "t", since: 15, do: "create publication b for table t where (kind = 'a')"},
				{on: "t", since: 15, do: "create publication b for table t where (id > 1 or extra is null)"},
				{on: "t", since: 15, do: "create publication b for table t where (kind = 'a') with (publish = " +
					"'insert')"},
				{on: "t", since: 15, do: "create publication b for table t where (kind = 'a') with (publish = " +
					"'insert, update')"},
				{on: "t", since: 15, do: "create publication b for table t where (kind = 'a'); alter table t replica " +
					"identity full", undo: "alter table t replica identity default"},
				{on: "t", since: 15, do: "create publication b for table t where (kind = 'a'); alter table t replica " +
					"identity using index t_kind", undo: "alter table t replica identity default"},
				{on: "t", since: 15, do: "create publication b for table t where (extra = 1); alter table t replica " +
					"identity using index t_kind", undo: "alter table t replica identity default"},
				{on: "t", since: 15, do: "create publication b for table t (id) where (id = 1)"},
				{on: "p0", since: 15, do: "create publication b for table p where (kind = 'a') with " +
					"(publish_via_partition_root)"},
				{on: "p0", since: 15, do: "create publication b for table p where (at > 1) with " +
					"(publish_via_partition_root)"},
				{on: "p0", since: 15, do: "create publication b for table p0 where (kind = 'a')"},
				{on: "p0", since: 15, do: "create publication b for table p0 where (id = 1 and at = 1)"},
			} {
				if tt.since*10000 > reader.Version {
					continue
				}
				run(t, c, tt.do)
				now, err := reader.Read(t.Context(), c, []int64{oids[tt.on]})
				if err != nil {
					t.Fatal(err)
				}
				for o, text := range map[relation.Operation]string{relation.Delete: "delete from " + tt.on,
					relation.Update: "update " + tt.on + " set kind = kind"} {
					run(t, c, "begin")
					_, fault := c.Exec(t.Context(), text)
					run(t, c, "rollback")
					unfit := now.Relations[oids[tt.on]].Unfit(o)
					if _, ok := remediate.Refused(unfit); ok != (fault != nil) || fault != nil &&
						!strings.Contains(fault.Error(), "SQLSTATE 42P10") &&
						!strings.Contains(fault.Error(), "SQLSTATE 55000") {
						t.Errorf("%s: %s: the server says %v, and Unfit %v", tt.do, text, fault, unfit)
					}
					if fault != nil {
						refused++
					}
				}
				run(t, c, "drop publication b; "+tt.undo)
			}
			if refused < 3 {
				t.Errorf("the server refused %d statements: the test shows nothing", refused)
			}
		})
	}
}
