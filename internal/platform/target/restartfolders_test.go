package target_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// What systemd says of a unit tells which of its folders are empty after a restart.
func TestUnitFolders(t *testing.T) {
	for _, c := range []struct {
		says, path string
		want       target.Fate
	}{
		{"", "/var/lib/redis", target.Kept},
		{"", "/tmp/redis", target.Kept},
		{"PrivateTmp=yes", "/tmp/redis", target.Lost},
		{"PrivateTmp=disconnected", "/var/tmp", target.Lost},
		{"PrivateTmp=no", "/tmp", target.Kept},
		{"DynamicUser=yes", "/tmp/redis", target.Lost},
		{"RuntimeDirectory=redis", "/run/redis/data", target.Lost},
		{"RuntimeDirectory=redis", "/run/redis-other", target.Kept},
		{"RuntimeDirectory=redis\nRuntimeDirectoryPreserve=yes", "/run/redis", target.Kept},
		{"RuntimeDirectory=redis\nRuntimeDirectoryPreserve=restart", "/run/redis", target.Kept},
		{"TemporaryFileSystem=/var:ro /srv", "/srv/redis", target.Lost},
		{"ProtectHome=tmpfs", "/home/redis/data", target.Lost},
		{"ProtectHome=tmpfs", "/root", target.Lost},
		{"ProtectHome=read-only", "/home/redis", target.Kept},
	} {
		folder := t.TempDir()
		text := "#!/bin/sh\ncat <<'end'\nLoadState=loaded\nActiveState=active\nMainPID=1\nTimeoutStopUSec=1min\n" +
			c.says + "\nend\n"
		if err := sandbox.WriteProgram(filepath.Join(folder, "systemctl"), text, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
		s, err := target.Restart{Unit: "redis.service"}.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f, known := s.Holds(c.path); !known || f.Fate != c.want {
			t.Errorf("%q: %s is %v (%v), want %v", c.says, c.path, f.Fate, known, c.want)
		}
	}
}
