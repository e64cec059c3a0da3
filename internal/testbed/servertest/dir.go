package servertest

import (
	"fmt"
	"os"
	"path/filepath"
)

// Dir makes a folder below which other users' servers can work. The folder of a
// test is for its owner alone.
func Dir() (string, error) {
	sweep()
	dir, err := os.MkdirTemp("", fmt.Sprintf("upkeep-test-%d-", os.Getpid()))
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

// caches are the folders where tools/install-deps.sh keeps what no package has.
func caches() []string {
	folders := []string{"/var/cache/upkeep"}
	if cache, err := os.UserCacheDir(); err == nil {
		folders = append(folders, filepath.Join(cache, "upkeep"))
	}
	return folders
}

// sweep removes the folders of test processes that are gone: a server that lives
// as long as its process cannot remove its own data.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), "upkeep-test-*-*")) // the pattern is well formed
	for _, dir := range dirs {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "upkeep-test-%d-", &pid); err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); os.IsNotExist(err) {
			_ = os.RemoveAll(dir) // another process may be at it too
		}
	}
}
