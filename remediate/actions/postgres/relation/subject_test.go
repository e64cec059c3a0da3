package relation_test

import (
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
)

// A plan on a database that the configuration leaves alone says so: it is not gone.
func TestFindExcluded(t *testing.T) {
	t.Parallel()
	url, name := servertest.Database(t)
	for what, tc := range map[string]struct {
		database      string
		only, exclude []string
		want          string
	}{
		"excluded":   {name, nil, []string{name}, `is excluded by the configuration of postgres main; to work on it, change its databases or exclude`},
		"not listed": {name, []string{"postgres"}, nil, `is excluded by the configuration of postgres main`},
		"gone":       {name + "x", nil, nil, remediate.ErrGone.Error()},
	} {
		p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url, Databases: tc.only, Exclude: tc.exclude})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = relation.Find(t.Context(), p, remediate.Request{Subject: map[string]string{"server": "main",
			"database": tc.database, "schema": "public", "table": "t"}})
		r, refused := remediate.Refused(err)
		if !refused || r.Reason != remediate.ReasonGone || !strings.Contains(r.Detail, tc.want) {
			t.Errorf("%s: %v, want %q", what, err, tc.want)
		}
		p.Close()
	}
}
