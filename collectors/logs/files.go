package logs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/logs/pattern"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// logsMost is how many logs of a machine are followed: a pattern that finds more is a mistake.
const logsMost = 1000

// Files reports what the lines of the log files say that a machine's configuration names.
func Files(t *target.Host) collectors.Collector {
	c := &fileLines{families: newFamilies(), sources: t.Logs.Files, host: t}
	c.following = newFollowing(source{name: t.Name,
		fields: t.Logs.Fields, closed: t.Closed(), raw: true,
		open: func(k target.Container) (*target.LogFolder, error) { return t.OpenLog(k.LogPath) }})
	if t.Logs.State != "" {
		c.state = filepath.Join(t.Logs.State, "files.json")
	}
	c.discover = c.find
	return collectors.Collector{
		Name:   "logs/files",
		Target: t.Name,
		Doc: `Files reports what the lines of log files say, of services that are in no container: as logs/lines, with the same metrics.

Reads the files that logs.files of the host names, by path or pattern, from where they were left, across
rotation (renamed and created, copied and truncated; with a number or a date, compressed by gzip) and restarts of
upkeep. The label service is the configured one. A file that appears later is read from its beginning; what was
written before the configuration named it is not counted. What was rotated away and removed before it was read is
counted in upkeep_logs_missed_files_total. Files that are links, pipes or devices, that have a second name, or
that are below a link are not read. One that cannot be read is named in the status, and costs only its own
figures. Rights: to read the files and to list their folders; on Debian those of /var/log are readable by
the group adm. Cost: as logs/lines; each folder is listed every 15 seconds, and when a file is created in it.
How far each was read is in data_dir/logs, with the counts.`,
		Metrics: c.metrics(),
		Every:   15 * time.Second,
		Timeout: time.Minute,
		Limit:   100,
		Collect: c.collect,
	}
}

type fileLines struct {
	families
	following

	host    *target.Host
	sources []target.HostLog
}

func (c *fileLines) collect(ctx context.Context, w *collectors.Writer) error {
	if len(c.sources) == 0 || ctx.Err() != nil {
		return context.Cause(ctx) // there is nothing to read
	}
	return c.counting(ctx, func() (func() error, error) { return c.count(ctx, w) })
}

// count reads the logs and writes what was counted. What it returns is to be saved before that is
// exported.
func (c *fileLines) count(ctx context.Context, w *collectors.Writer) (save func() error, fault error) {
	faults := []error{c.restore()}
	c.prune()
	c.limit = w.Limit()
	c.start()
	faults = append(faults, c.find(ctx))
	c.write(w, c.name, c.services)
	return c.save(), errors.Join(faults...)
}

// prune forgets what is not configured any more: where it is again, what was written meanwhile does
// not count.
func (c *fileLines) prune() {
	c.patterns = slices.DeleteFunc(c.patterns, func(p string) bool {
		return !slices.ContainsFunc(c.sources, func(s target.HostLog) bool { return s.Path == p })
	})
	for path, l := range c.logs {
		i := slices.IndexFunc(c.sources, func(s target.HostLog) bool { return pattern.Matches(s.Path, path) })
		switch {
		case i < 0:
			c.forget(l)
		case l.service != c.sources[i].Service && l.service != collectors.Other:
			c.own(l, c.sources[i].Service)
		}
	}
	maps.DeleteFunc(c.services, func(name string, _ *tally) bool {
		return name != collectors.Other &&
			!slices.ContainsFunc(c.sources, func(s target.HostLog) bool { return s.Service == name })
	})
}

// find finds the logs, reads them, and forgets those that are gone.
func (c *fileLines) find(ctx context.Context) error {
	there := make(map[string]bool)
	var faults []error
	var unread []string
	for _, s := range c.sources {
		found := pattern.Find(c.host, s.Path, func(path string) bool { return c.logs[path] != nil })
		faults = append(faults, found.Err())
		c.watchFolders(found.Folders)
		for _, path := range found.Logs {
			if there[path] { // it is of the first that names it
				continue
			}
			if c.logs[path] == nil && len(c.logs) >= logsMost {
				faults = append(faults, fmt.Errorf("%s: it finds more than %d logs: narrow it", s.Path, logsMost))
				break
			}
			there[path] = true
			one := target.Container{ID: path, Name: path, Service: s.Service, LogPath: path}
			err := c.read(ctx, one, c.old(s, path))
			if err != nil {
				faults = append(faults, fmt.Errorf("%q: %w", path, err))
			}
			if ctx.Err() != nil {
				return errors.Join(faults...)
			}
		}
		if !slices.Contains(c.patterns, s.Path) {
			c.patterns = append(c.patterns, s.Path)
		}
		for _, one := range found.Unread {
			unread = append(unread, one.Path)
		}
	}
	if c.unread = unread; len(unread) == 0 {
		c.part(ctx, there)
	}
	return errors.Join(faults...)
}

// old reports whether a log that is seen for the first time may have been there before upkeep looked: the pattern
// is new, or its folder could not be looked at.
func (c *fileLines) old(s target.HostLog, path string) bool {
	return !slices.Contains(c.patterns, s.Path) || slices.ContainsFunc(c.unread, func(folder string) bool {
		return strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
	})
}

// folderKey begins the key of a folder that is watched for new logs.
const folderKey = "\x00"

func (c *fileLines) watchFolders(folders []string) {
	for _, path := range folders {
		if c.watcher == nil || c.watcher.Watches(folderKey+path) {
			continue
		}
		folder, err := c.host.Folder(path)
		if err != nil {
			continue // the next look says so
		}
		if dir, err := folder.Open("."); err == nil {
			_ = c.watcher.Add(dir, folderKey+path, "") // without, each collection looks
			_ = dir.Close()                            // was not read
		}
		_ = folder.Close() // was not read
	}
}
