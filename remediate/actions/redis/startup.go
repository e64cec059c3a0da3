package redis

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// longestFile bounds what is read of a configuration file.
	longestFile = 4 << 20

	// deepestInclude is how many files may include one another.
	deepestInclude = 8
)

// startup reads what the server is started with, as far as it can be seen from here:
// its configuration file as its own process sees it, and its command line as Docker or
// systemd reports it.
func (now observation) startup() startup {
	s := startup{said: make(map[string]string), where: make(map[string]string), tokens: make(map[string][]string)}
	args, ok := options(now.supervised.Args)
	if !ok {
		s.lacks = "its command line"
		return s
	}
	if file := now.state.ConfigFile; file != "" {
		if !s.file(now.place.root, file, now.supervised.WorkDir, 0) {
			s.lacks = "its configuration file " + file
			return s
		}
	}
	for _, line := range args {
		s.line("command line", line)
	}
	s.known = true
	return s
}

// options returns the settings of a command line, a line each. Only one that names
// the server's program is understood: a shell or a script may start it with others.
func options(args []string) (lines [][]string, ok bool) {
	i := slices.IndexFunc(args, func(a string) bool {
		name := filepath.Base(a)
		return strings.HasPrefix(name, "redis-server") || strings.HasPrefix(name, "valkey-server") ||
			strings.HasPrefix(name, "keydb-server")
	})
	switch {
	case i == 0 || i == 1 && path.Base(args[0]) == "docker-entrypoint.sh":
		args = args[i+1:]
	case len(args) > 1 && path.Base(args[0]) == "docker-entrypoint.sh" &&
		(strings.HasPrefix(args[1], "-") || strings.HasSuffix(args[1], ".conf")):
		args = args[1:] // it puts the program before them
	default:
		return nil, false
	}
	for i, arg := range args {
		switch name, long := strings.CutPrefix(arg, "--"); {
		case arg == "-" || arg == "-c":
			return nil, false // settings from the standard input
		case long:
			line, whole := split(name) // "--appendonly yes" may be one argument
			if !whole {
				return nil, false
			}
			lines = append(lines, line)
		case len(lines) > 0:
			lines[len(lines)-1] = append(lines[len(lines)-1], arg)
		case i > 0:
			return nil, false
		} // the first may be the configuration file
	}
	return lines, true
}

// file reads a configuration file and those that it includes.
func (s *startup) file(root, file, from string, depth int) bool {
	if root == "" || depth > deepestInclude {
		return false
	}
	if !path.IsAbs(file) {
		file = path.Join(from, file)
	}
	text, err := readInside(root, file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		fields, whole := split(line)
		if !whole {
			return false
		}
		if len(fields) == 2 && strings.EqualFold(fields[0], "include") {
			// A pattern would have to be looked for within the server's root.
			if strings.ContainsAny(fields[1], "*?[") || !s.file(root, fields[1], from, depth+1) {
				return false
			}
			continue
		}
		s.line("configuration file", fields)
	}
	return true
}

// line takes in one setting; a later one counts more.
func (s *startup) line(where string, fields []string) {
	if len(fields) == 0 {
		return
	}
	name, values := canonical(fields[0]), fields[1:]
	switch name {
	case "user":
		s.users = append(s.users, values)
		return
	case "save": // they add up; an empty one takes back those before
		if len(values) == 0 || len(values) == 1 && values[0] == "" {
			values = nil
		} else {
			values = append(slices.Clone(s.tokens[name]), values...)
		}
	case "client-output-buffer-limit":
		values = append(slices.Clone(s.tokens[name]), values...)
	case "dir": // each is seen from the one before
		if before := s.said[name]; len(values) == 1 && before != "" && !path.IsAbs(values[0]) {
			values = []string{path.Join(before, values[0])}
		}
	}
	s.said[name], s.where[name], s.tokens[name] = strings.Join(values, " "), where, values
}

// canonical is the name of a setting that it has now.
func canonical(name string) string {
	name = strings.ToLower(name)
	switch name {
	case "slaveof":
		return "replicaof"
	case "lua-time-limit":
		return "busy-reply-threshold"
	}
	name = strings.ReplaceAll(name, "-ziplist-", "-listpack-")
	return strings.ReplaceAll(strings.ReplaceAll(name, "slaves", "replicas"), "slave", "replica")
}

// split takes a line apart as the server does: by spaces, with quotes around what
// has some in it.
func split(line string) (fields []string, ok bool) {
	for {
		line = strings.TrimLeft(line, " \t\r\n\v\f\x00")
		if line == "" {
			return fields, true
		}
		var field strings.Builder
		for line != "" && !strings.ContainsRune(" \t\r\n\x00", rune(line[0])) {
			c := line[0]
			if c != '"' && c != '\'' {
				field.WriteByte(c)
				line = line[1:]
				continue
			}
			text, rest, closed := quoted(line)
			if !closed || rest != "" && !strings.ContainsRune(" \t\r\n\v\f", rune(rest[0])) {
				return nil, false
			}
			field.WriteString(text)
			line = rest
		}
		fields = append(fields, field.String())
	}
}

// quoted reads quoted text at the beginning of a line.
func quoted(line string) (text, rest string, closed bool) {
	var b strings.Builder
	quote := line[0]
	for i := 1; i < len(line); i++ {
		switch c := line[i]; {
		case c == quote:
			return b.String(), line[i+1:], true
		case c != '\\' || i+1 == len(line):
			b.WriteByte(c)
		case quote == '\'' && line[i+1] != '\'':
			b.WriteByte(c)
		case quote == '"' && line[i+1] == 'x':
			return "", "", false // bytes by their numbers: no name or number is written so
		default:
			i++
			b.WriteByte(escaped(quote, line[i]))
		}
	}
	return "", "", false
}

// escaped is the meaning of a character after a backslash.
func escaped(quote, c byte) byte {
	if means := strings.IndexByte("nrtba", c); quote == '"' && means >= 0 {
		return "\n\r\t\b\a"[means]
	}
	return c
}

// openInside opens a file as a process sees it that has another root: also its
// symbolic links lead to where they lead there.
func openInside(root, file string, flags uint64) (*os.File, error) {
	at, err := unix.Open(filepath.Join(root, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(at) }() // nothing was written
	fd, err := unix.Openat2(at, file, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: file, Err: err}
	}
	return os.NewFile(uintptr(fd), file), nil
}

func readInside(root, file string) (string, error) {
	f, err := openInside(root, file, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // nothing was written
	text, err := io.ReadAll(io.LimitReader(f, longestFile))
	return string(text), err
}

func statInside(root, file string) (os.FileInfo, error) {
	f, err := openInside(root, file, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	return f.Stat()
}
