package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
)

// The guard looks at the backups themselves, and believes no time that is to come.
func TestBackupGuard(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	type files map[string]time.Duration // by their age; what is not there is not made
	for _, c := range []struct {
		name    string
		backup  config.Backup
		files   files
		refused string // "": it passes
	}{
		{"made and verified", config.Backup{Path: "*.dump"}, files{"a.dump": 3 * hour, "verified": hour}, ""},
		{"verified now, made 40 days ago", config.Backup{Path: "*.dump"}, files{"a.dump": 40 * day, "verified": 0},
			"a.dump, was made at"},
		{"no backup, verified in 2035", config.Backup{Path: "*.dump"}, files{"verified": -9 * 365 * day},
			"main has no backup"},
		{"no backup, verified now", config.Backup{Path: "*.dump"}, files{"verified": 0}, "main has no backup"},
		{"the pattern matches the verification alone", config.Backup{Path: "*"}, files{"verified": hour},
			"main has no backup"},
		{"an empty file is no backup", config.Backup{Path: "*.dump"}, files{"empty.dump": hour, "verified": 0},
			"main has no backup"},
		{"one that is still being written does not count", config.Backup{Path: "*.dump"},
			files{"a.dump": 0, "verified": 0}, "main has no backup"},
		{"verified in a minute", config.Backup{Path: "*.dump"}, files{"a.dump": hour, "verified": -time.Minute},
			"verified, which says when a backup of main was verified, has the time"},
		{"made tomorrow", config.Backup{Path: "*.dump"}, files{"a.dump": -day, "b.dump": 2 * hour, "verified": hour},
			"a.dump of main has the time"},
		{"verified before the newest was made", config.Backup{Path: "*.dump"},
			files{"a.dump": 30 * hour, "b.dump": hour, "verified": 2 * hour}, "the newest verified backup is of"},
		{"the one before is young enough", config.Backup{Path: "*.dump"},
			files{"a.dump": 23 * hour, "b.dump": hour, "verified": 2 * hour}, ""},
		{"verified to the second of the future", config.Backup{Path: "*.dump"},
			files{"a.dump": hour, "verified": -6 * time.Second}, "which is in the future"},
		{"the clock of the file system a little ahead", config.Backup{Path: "*.dump"},
			files{"a.dump": hour, "verified": -2 * time.Second}, ""},
		{"never verified", config.Backup{Path: "*.dump"}, files{"a.dump": hour}, "is not there"},
		{"a snapshot that is written over", config.Backup{Kind: "rdb", Path: "a.rdb"},
			files{"a.rdb": 0, "verified": 2 * hour}, ""},
		{"a snapshot that is written over, verified long ago", config.Backup{Kind: "rdb", Path: "a.rdb"},
			files{"a.rdb": 0, "verified": 25 * hour}, "have the newest verified"},
		{"a folder that is not there", config.Backup{Path: "no/*.dump"}, files{"verified": 0},
			"whether main has a verified backup is unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, now := t.TempDir(), time.Now()
			for name, age := range c.files {
				file, text := filepath.Join(dir, name), "data"
				if strings.HasPrefix(name, "empty") {
					text = ""
				}
				err := os.WriteFile(file, []byte(text), 0o600)
				if err == nil {
					err = os.Chtimes(file, now.Add(-age), now.Add(-age))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			c.backup.Name, c.backup.Path, c.backup.Verified = "main", filepath.Join(dir, c.backup.Path),
				filepath.Join(dir, "verified")
			p := remediate.Proposal{Action: remediate.Action{Risk: remediate.Destructive}, Now: now}
			p.Run.Request.Subject, p.Run.Request.Terms.Backup = map[string]string{"server": "main"}, day
			err := guard.Backup(backups{c.backup}).Check(t.Context(), p)
			if c.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if r, ok := remediate.Refused(err); !ok || r.Reason != "backup" || !strings.Contains(r.Detail, c.refused) {
				t.Errorf("%v, want a refusal with %q", err, c.refused)
			}
		})
	}
}
