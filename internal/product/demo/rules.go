package demo

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/ai-micro-service/upkeep/alerts"
)

const (
	// dayLimit is the limit on the age of a snapshot in the shipped rule, and
	// shortLimit what it is in the demo, which must not take a day.
	dayLimit   = "86400"
	shortLimit = "15"
)

// shortRules writes the shipped rules into dir with short clocks: nothing has to
// last before it fires, and a snapshot is old after some seconds. The rest, every
// expression and every other limit, is as shipped.
func shortRules(dir string) (fs.FS, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	shipped := alerts.Files()
	names, err := fs.Glob(shipped, "*.rules.yaml")
	if err != nil {
		return nil, err
	}
	shortened := 0
	wait := regexp.MustCompile(`(?m)^(\s*)for: \S+$`)
	for _, name := range names {
		text, err := fs.ReadFile(shipped, name)
		if err != nil {
			return nil, err
		}
		shortened += bytes.Count(text, []byte(dayLimit))
		text = bytes.ReplaceAll(text, []byte(dayLimit), []byte(shortLimit))
		text = wait.ReplaceAll(text, []byte("${1}for: 0s"))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return nil, err
		}
	}
	if shortened == 0 {
		return nil, fmt.Errorf("no shipped rule has the limit %s any more", dayLimit)
	}
	return os.DirFS(dir), nil
}
