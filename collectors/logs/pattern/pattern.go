// Package pattern finds the logs that a pattern names: files, and what was rotated away from them.
package pattern

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Found is what a pattern has found.
type Found struct {
	Logs    []string // paths, in order; of one that is being rotated there may be no file of that name
	Folders []string // that were looked at, in which others may appear

	Unread []Fault // folders that could not be looked at: their logs are missing
	Odd    []Fault // what has a name that matches, and is no plain file
}

// A Fault is why something is not read.
type Fault struct {
	Path string
	Err  error
}

// Err returns all faults as one.
func (f Found) Err() error {
	var all []error
	for _, one := range slices.Concat(f.Unread, f.Odd) {
		all = append(all, one.Err)
	}
	return errors.Join(all...)
}

// Check reports what is wrong with a pattern.
func Check(p string) error {
	switch {
	case !filepath.IsAbs(p):
		return errors.New("an absolute path was expected")
	case strings.HasSuffix(p, "/"):
		return errors.New("a file was expected, or a pattern of files such as /var/log/nginx/*.log")
	case strings.ContainsRune(p, 0):
		return errors.New("it has a NUL")
	}
	if _, err := path.Match(p, ""); err != nil {
		return fmt.Errorf("%w; /var/log/nginx/*.log is one", err)
	}
	return nil
}

// IsPattern reports whether a path may name several files.
func IsPattern(p string) bool { return strings.ContainsAny(p, `*?[\`) }

// Find finds the logs of a pattern on a machine. A log that is known stays one while a file that was
// rotated away from it is there. No link is followed.
func Find(h *target.Host, p string, known func(path string) bool) (f Found) {
	folder, name := path.Split(path.Clean(p))
	f.below(h, "/", strings.Split(strings.Trim(folder, "/"), "/"), name, known)
	slices.Sort(f.Logs)
	return f
}

// below looks at the folders that steps lead to.
func (f *Found) below(h *target.Host, folder string, steps []string, name string, known func(string) bool) {
	for i, step := range steps {
		if !IsPattern(step) {
			folder = path.Join(folder, step)
			continue
		}
		all, ok := f.list(h, folder)
		if !ok {
			return
		}
		for _, e := range all {
			if match, _ := path.Match(step, e.Name()); match && e.IsDir() { // Check has said what is wrong with it
				f.below(h, path.Join(folder, e.Name()), steps[i+1:], name, known)
			}
		}
		return
	}
	if all, ok := f.list(h, folder); ok {
		f.within(folder, all, name, known)
	}
}

// list lists a folder. One that is not there is empty.
func (f *Found) list(h *target.Host, folder string) (all []fs.DirEntry, ok bool) {
	root, err := h.Folder(folder)
	if err == nil {
		all, err = fs.ReadDir(root.FS(), ".")
		_ = root.Close() // was only listed
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Unread = append(f.Unread, Fault{folder, readable(folder, err)})
		return nil, false
	}
	if err == nil {
		f.Folders = append(f.Folders, folder)
	}
	return all, true
}

func readable(folder string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%q: %w: let upkeep list the folder", folder, fs.ErrPermission)
	}
	return err
}

// within finds the logs in a folder.
func (f *Found) within(folder string, all []fs.DirEntry, name string, known func(string) bool) {
	files := make(map[string]bool)
	for _, e := range all {
		if e.Type().IsRegular() {
			files[e.Name()] = true
		}
	}
	logs := make(map[string]bool)
	for _, e := range all {
		match, _ := path.Match(name, e.Name()) // Check has said what is wrong with it
		if !files[e.Name()] {
			if match && !e.IsDir() {
				p := path.Join(folder, e.Name())
				f.Odd = append(f.Odd, Fault{p, fmt.Errorf("%q is a link, a pipe or a device: name the file itself", p)})
			}
			continue
		}
		sure, maybe := target.RotatedFrom(e.Name())
		if maybe != "" && !files[maybe] && !known(path.Join(folder, maybe)) {
			maybe = "" // a log that has a date in its name
		}
		of := cmp.Or(sure, maybe)
		if ofMatches, _ := path.Match(name, of); of != "" && ofMatches {
			logs[of] = true
		} else if match {
			logs[e.Name()] = true
		}
	}
	for log := range logs {
		f.Logs = append(f.Logs, path.Join(folder, log))
	}
}

// Matches reports whether a log is one of a pattern.
func Matches(p, log string) bool {
	match, _ := path.Match(path.Clean(p), log) // Check has said what is wrong with it
	return match
}

// Files returns the files of the logs of a machine's services, or of one, the oldest first: of each log once.
func Files(h *target.Host, service string) (all map[string][]string, err error) {
	all = make(map[string][]string)
	seen := make(map[string]bool)
	var faults []error
	for _, s := range h.Logs.Files {
		found := Find(h, s.Path, func(string) bool { return false })
		faults = append(faults, found.Err())
		for _, log := range found.Logs {
			if seen[log] || service != "" && service != s.Service {
				seen[log] = true
				continue
			}
			seen[log] = true
			files, err := h.LogFiles(log)
			if err != nil {
				faults = append(faults, fmt.Errorf("%q: %w", log, err))
			}
			all[s.Service] = append(all[s.Service], files...)
		}
	}
	return all, errors.Join(faults...)
}
