package servertest_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func TestServers(t *testing.T) {
	url, name := servertest.Database(t)
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var got string
	if err := c.QueryRow(t.Context(), "select current_database()").Scan(&got); err != nil || got != name {
		t.Errorf("current_database() is %q, want %q (%v)", got, name, err)
	}
	r := servertest.Redis(t)
	status, err := os.ReadFile("/proc/" + strconv.Itoa(r.PID()) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(status), "\nUid:\t0\t") {
		t.Error("Redis runs as root")
	}
}
