package packages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// pinnedLine is a requirement that needs no fetching, building or resolving: a name, extras, a
// version, and what environment it is for.
const pinnedLine = `^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[A-Za-z0-9._, -]*\])?\s*===?\s*[A-Za-z0-9.!+_-]+\s*` +
	`(;[A-Za-z0-9._"'<>=!~() ,-]*)?$`

// requirements returns the pinned requirements of a requirements.txt. Where packages come from
// and by what hashes they are known is left out: nothing is fetched. It refuses what would name another
// file, a URL or a folder, and what names no version: a count without it would be too small.
func requirements(text string) ([]byte, error) {
	pinned := regexp.MustCompile(pinnedLine)
	comment := regexp.MustCompile(`(^|\s)#.*$`)
	hash := regexp.MustCompile(`\s--hash[= ]\S+`)
	var out bytes.Buffer
	// A line goes on after a backslash, as each hash of pip-compile's is on its own.
	text = regexp.MustCompile(`\\\r?\n`).ReplaceAllString(text, " ")
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(comment.ReplaceAllString(strings.TrimRight(line, "\r\n"), ""))
		line = strings.TrimSpace(hash.ReplaceAllString(line, ""))
		option, _, _ := strings.Cut(strings.ReplaceAll(line, "=", " "), " ")
		switch option {
		case "", "-i", "--index-url", "--extra-index-url", "--trusted-host", "--no-index", "-f", "--find-links",
			"--only-binary", "--no-binary", "--prefer-binary", "--require-hashes", "--pre":
			continue
		}
		if !pinned.MatchString(line) {
			return nil, fmt.Errorf("requirement %d is not name==version: pin it (pip-compile, pip freeze), or name a "+
				"report of pip-audit instead of the folder", n)
		}
		out.WriteString(line + "\n")
	}
	return out.Bytes(), nil
}

// A locked package is the part of a lock file's entry that says what is installed. Where it
// comes from is not in it.
type lockedPackage struct {
	Name         string            `json:"name,omitempty"`
	Version      string            `json:"version,omitempty"`
	Link         bool              `json:"link,omitempty"`
	Dev          bool              `json:"dev,omitempty"`
	Optional     bool              `json:"optional,omitempty"`
	DevOptional  bool              `json:"devOptional,omitempty"`
	Peer         bool              `json:"peer,omitempty"`
	Dependencies map[string]string `json:"dependencies,omitempty"`
	DevDeps      map[string]string `json:"devDependencies,omitempty"`
	OptionalDeps map[string]string `json:"optionalDependencies,omitempty"`
	PeerDeps     map[string]string `json:"peerDependencies,omitempty"`
}

// locked returns what is installed of a package-lock.json, and the package.json that belongs to
// it. npm would fetch a package by its name where that is a URL, and run git and its scripts for it: a name is
// a name only.
func locked(text []byte) (lock, root []byte, err error) {
	var is struct {
		Packages map[string]lockedPackage `json:"packages"`
	}
	if err := decode(text, &is); err != nil {
		return nil, nil, fmt.Errorf("package-lock.json: %w", err)
	}
	if is.Packages == nil {
		return nil, nil, errors.New("package-lock.json is of npm 6 or older (lockfileVersion 1): renew it with npm 7 " +
			"or later, or name a report of npm audit instead of the folder")
	}
	name := regexp.MustCompile(`^(@[a-z0-9~._-]+/)?[A-Za-z0-9~_-][A-Za-z0-9~._-]*$`)
	version := regexp.MustCompile(`^[0-9A-Za-z.+~^*<>=| _-]*$`)
	packages := make(map[string]lockedPackage, len(is.Packages))
	for path, p := range is.Packages {
		if p.Link {
			continue // to a folder of the service's own, which is in the list too
		}
		base, installed := path, false // node_modules/@a/b/node_modules/c is c; others are folders of the service
		if at := strings.LastIndex("/"+path, "/node_modules/"); at >= 0 {
			base, installed = path[at+len("node_modules/"):], true
		}
		if path != "" && !filepath.IsLocal(path) || installed && !name.MatchString(base) ||
			p.Name != "" && !name.MatchString(p.Name) || !version.MatchString(p.Version) {
			return nil, nil, fmt.Errorf("package-lock.json: %.80q is no name of a package with a version", path)
		}
		for _, needs := range []map[string]string{p.Dependencies, p.DevDeps, p.OptionalDeps, p.PeerDeps} {
			for n, wants := range needs {
				if !name.MatchString(n) {
					return nil, nil, fmt.Errorf("package-lock.json: %.80q needs %.80q, which is no name", path, n)
				}
				if !version.MatchString(wants) {
					needs[n] = "*" // a URL, a tag of git, another name
				}
			}
		}
		packages[path] = p
	}
	own := packages[""]
	own.Name, own.Version = "audited", "0.0.0"
	packages[""] = own
	lock, err = json.Marshal(map[string]any{"name": own.Name, "version": own.Version, "lockfileVersion": 3,
		"requires": true, "packages": packages})
	if err != nil {
		return nil, nil, err
	}
	root, err = json.Marshal(own)
	return lock, root, err
}
