package redis

import (
	"os"
	"path/filepath"
	"strings"
)

// configured returns what the server is started with, as far as it can be seen
// from here: its configuration file, as the server's own process sees it, and the
// command line where a container's engine tells it. Each is settings, one a line.
func (now patient) configured() map[string]string {
	all := make(map[string]string)
	if file := now.state.ConfigFile; file != "" && now.place.root != "" {
		text, err := os.ReadFile(filepath.Join(now.place.root, "root", file))
		if err == nil && !includes(string(text)) {
			all["configuration file"] = string(text)
		}
	}
	if args := now.supervised.Args; len(args) > 0 {
		var lines strings.Builder
		for _, arg := range args {
			// "--appendonly yes" is one setting, in one argument or in two.
			if name, ok := strings.CutPrefix(arg, "--"); ok {
				lines.WriteString("\n" + name)
			} else {
				lines.WriteString(" " + arg)
			}
		}
		if strings.Contains(lines.String(), "\nappendonly ") {
			// It counts more than the file.
			all = map[string]string{"command line": lines.String()}
		} else if now.state.ConfigFile == "" {
			all["command line"] = lines.String() + "\nappendonly no"
		}
	}
	if text, ok := all["configuration file"]; ok && appendonly(text) == "" {
		all["configuration file"] = text + "\nappendonly no" // the default
	}
	return all
}

// includes reports whether a file takes in others, which may say anything.
func includes(text string) bool {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 && strings.EqualFold(f[0], "include") {
			return true
		}
	}
	return false
}

// appendonly returns what settings say of the append-only file; the last one counts.
func appendonly(text string) (said string) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && strings.EqualFold(f[0], "appendonly") {
			said = strings.ToLower(strings.Trim(f[1], `"'`))
		}
	}
	return said
}
