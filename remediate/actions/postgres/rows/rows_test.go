package rows_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func TestMain(m *testing.M) {
	servertest.KeepSessions()
	os.Exit(m.Run())
}

// own starts a server for one test, of a major version; "" is that of the package.
func own(t *testing.T, version string, settings map[string]string) *sandbox.Postgres {
	t.Helper()
	bin := ""
	if version != "" {
		bin = servertest.Versions(t)[version]
	}
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	all := map[string]string{"fsync": "off", "autovacuum": "off"}
	maps.Copy(all, settings)
	options := sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Bin: bin, Settings: all}
	s, err := servertest.StartPostgres(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// says gives a secret of the tests.
func says(s string) func() (string, error) { return func() (string, error) { return s, nil } }
