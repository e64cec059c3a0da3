package docker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/remediate/actions/docker"
)

// A failing disk is a folder whose files are not what was written.
type failingDisk struct {
	depot.Store
	folder string
}

func (d failingDisk) Put(ctx context.Context, name string, content []byte) error {
	if err := d.Store.Put(ctx, name, content); err != nil {
		return err
	}
	damaged := append([]byte(nil), content...)
	damaged[len(damaged)/2] ^= 1
	return os.WriteFile(filepath.Join(d.folder, name), damaged, 0o600)
}

// What is archived is read back before it is cut.
func TestPruneLogsReadsBack(t *testing.T) {
	lines := []byte(`{"log":"one\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\n" +
		`{"log":"two\n","stream":"stdout","time":"2026-01-02T03:04:06Z"}` + "\n")
	folder := t.TempDir()
	err := docker.Put(t.Context(), failingDisk{depot.Folder(folder), folder}, "id", lines)
	if !errors.Is(err, depot.ErrDamaged) && !errors.Is(err, depot.ErrDiffers) {
		t.Errorf("%v, want that the object is not what was put", err)
	}
	folder = t.TempDir()
	for range 2 {
		if err := docker.Put(t.Context(), depot.Folder(folder), "id", lines); err != nil {
			t.Error(err)
		}
	}
}
