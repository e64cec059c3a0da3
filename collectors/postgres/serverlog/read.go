package serverlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/gzip"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

const (
	// Span is how far back a log is read.
	Span = 24 * time.Hour

	// mostOfFiles is how much of the end of a log is read from files: half a second's work.
	mostOfFiles = 32 << 20

	// mostOfServer is the same where the server sends it, which costs it more.
	mostOfServer = 4 << 20

	// piece is how much the server sends at once.
	piece = 1 << 20
)

// A Report is what a log says.
type Report struct {
	Groups []Group
	At     time.Time // when it was read
	Since  time.Time // of when the oldest line is that counts; zero where lines have no time
	From   string    // where it was read, for people
	Bytes  int64     // that were read
	Note   string    // what is not known though it was read; ""
}

// NotKnown says why a log was not read, and what would make it readable.
type NotKnown struct{ Why, SQL string }

// Error implements error.
func (n *NotKnown) Error() string { return n.Why }

// serverSQL asks a server how it logs, and what its role may.
//
// Rights: none beyond CONNECT. Versions: 13 and later. Cost: none.
const serverSQL = `
select clock_timestamp(), current_user::text, current_database()::text, current_setting('log_destination'),
       current_setting('logging_collector')::bool, current_setting('log_line_prefix'), current_setting('log_timezone'),
       current_setting('lc_messages'), current_setting('log_min_messages'), current_setting('cluster_name'),
       has_function_privilege('pg_ls_logdir()', 'EXECUTE') and pg_has_role('pg_read_all_settings', 'USAGE'),
       has_function_privilege('pg_read_binary_file(text, bigint, bigint, boolean)', 'EXECUTE')`

// whereSQL asks where the log is that the server writes. Which file it is now, pg_current_logfile tells to members of
// pg_monitor with late versions only: it is the youngest of its name.
//
// Rights: pg_monitor. Versions: 13 and later. Cost: none.
const whereSQL = `select current_setting('data_directory'), current_setting('log_directory'), current_setting('log_filename')`

// filesSQL lists the files of the folder of the log.
//
// Rights: pg_monitor. Versions: 13 and later. Cost: one look at each file of the folder.
const filesSQL = `select name::text, size::int8, modification from pg_ls_logdir() order by modification desc, name desc`

// pieceSQL reads a piece of a file.
//
// Rights: EXECUTE on the function, which reads whatever the server can read in its data and its log directory.
// Versions: 13 and later. Cost: the piece.
const pieceSQL = `select pg_read_binary_file($1, $2, $3, true)`

// A server is what it says of its log.
type server struct {
	Now                                          time.Time
	Role, Database, Destination                  string
	Collector                                    bool
	Prefix, Zone, Language, Least, Cluster       string
	Lists, Reads                                 bool
	layout                                       layout
	dataDirectory, logDirectory, pattern, logged string
}

type listed struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Read reads the log of a server: from the file or the container that the configuration names; else from the server's
// own files, where they are on this machine and can be read; else from the server. The error is a *NotKnown where it
// can be read nowhere.
func Read(ctx context.Context, t *target.Postgres) (Report, error) {
	db, err := t.Server()
	if err != nil {
		return Report{}, err
	}
	var s server
	err = db.QueryRow(ctx, serverSQL).Scan(&s.Now, &s.Role, &s.Database, &s.Destination, &s.Collector, &s.Prefix,
		&s.Zone, &s.Language, &s.Least, &s.Cluster, &s.Lists, &s.Reads)
	if err != nil {
		return Report{}, err
	}
	s.layout = layoutOf(s.Prefix, s.Zone)
	count := newTally(s.Now.Add(-Span))
	r := Report{At: s.Now.UTC()}
	switch {
	case t.Log.File != "":
		err = r.file(ctx, &s, t.Log.File, count)
	case t.Log.Docker != nil:
		err = r.container(ctx, &s, t.Log, count)
	default:
		err = r.own(ctx, &s, t, db, count)
	}
	if err != nil {
		return Report{}, err
	}
	r.Groups = count.all()
	if r.Since = count.first; r.Since.Before(count.from) && !r.Since.IsZero() {
		r.Since = count.from.UTC()
	}
	return r, r.understood(s, count)
}

// understood says what is not known of a log that was read.
func (r *Report) understood(s server, count *tally) error {
	english := s.Language == "" || s.Language == "C" || s.Language == "POSIX" || strings.HasPrefix(s.Language, "en") ||
		strings.HasPrefix(s.Language, "C.")
	table := strings.HasSuffix(s.logged, ".csv") || strings.HasSuffix(s.logged, ".json")
	switch {
	case !english && !table:
		return &NotKnown{Why: fmt.Sprintf("%s: its messages are in the language of lc_messages = %s: set it to C, or "+
			"add csvlog to log_destination", r.From, s.Language)}
	case r.Bytes > 0 && count.lines == 0:
		return &NotKnown{Why: r.From + ": no line of it is one of PostgreSQL"}
	case slices.Contains([]string{"log", "fatal", "panic"}, s.Least):
		r.Note = "log_min_messages is " + s.Least + ": errors are not written to it"
	case !english:
		r.Note = "lc_messages is " + s.Language + ": what has no SQLSTATE is not known"
	case r.Since.IsZero() && r.Bytes > 0:
		r.Note = "its lines have no time that is understood: add %m to log_line_prefix"
	}
	return nil
}

// file reads a file that the configuration names.
func (r *Report) file(ctx context.Context, s *server, name string, count *tally) error {
	r.From, s.logged = "log file "+name, name
	file, err := files.Open(name)
	if err != nil {
		return denied(r.From, err)
	}
	defer func() { _ = file.Close() }() // read only
	return r.end(ctx, s, file, mostOfFiles, count)
}

// container reads the log of a container that the configuration names, with the files that were rotated away.
func (r *Report) container(ctx context.Context, s *server, from target.PostgresLog, count *tally) error {
	r.From = "log of container " + from.Container
	all, err := from.Docker.Containers(ctx)
	i := slices.IndexFunc(all, func(c target.Container) bool { return c.Name == from.Container })
	switch {
	case i < 0 && err != nil:
		return err
	case i < 0:
		return &NotKnown{Why: fmt.Sprintf("engine %s has no container %q: correct log.container of the target",
			from.Docker.Name, from.Container)}
	}
	folder, err := from.Docker.OpenLog(all[i])
	if err != nil {
		return denied(r.From, err)
	}
	defer folder.Close()
	parts, err := opened(folder, s)
	defer func() {
		for _, p := range parts {
			_ = p.file.Close() // read only
		}
	}()
	if err != nil {
		return denied(r.From, err)
	}
	for _, p := range parts {
		if r.Bytes >= mostOfFiles {
			break
		}
		if err := r.part(ctx, s, p, mostOfFiles-r.Bytes, count); err != nil {
			return err
		}
	}
	return nil
}

// A part is a file of a log.
type part struct {
	file   *os.File
	info   fs.FileInfo
	packed bool
}

// opened opens the files of a log before one is read, the newest first: a file that is rotated meanwhile is the same
// under its new name. Those that were last written before the span are left out.
func opened(folder *target.LogFolder, s *server) (parts []part, err error) {
	names, err := folder.Rotated()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(append(names, folder.Name())) {
		if slices.Contains(names, strings.TrimSuffix(name, ".gz")) && strings.HasSuffix(name, ".gz") {
			continue // it is being compressed
		}
		file, err := folder.Open(name)
		if errors.Is(err, fs.ErrNotExist) && name != folder.Name() {
			continue // it was rotated away meanwhile
		}
		if err != nil {
			return parts, err
		}
		info, err := file.Stat()
		if err != nil {
			return parts, errors.Join(err, file.Close())
		}
		if slices.ContainsFunc(parts, func(p part) bool { return os.SameFile(p.info, info) }) ||
			name != folder.Name() && info.ModTime().Before(s.Now.Add(-Span)) {
			_ = file.Close() // read only
			continue
		}
		parts = append(parts, part{file, info, strings.HasSuffix(name, ".gz")})
	}
	return parts, nil
}

// part reads the end of a file, which may be compressed.
func (r *Report) part(ctx context.Context, s *server, p part, most int64, count *tally) error {
	if !p.packed {
		return r.end(ctx, s, p.file, most, count)
	}
	length := make([]byte, 4) // of the text, at the end of the file
	_, err := p.file.ReadAt(length, max(0, p.info.Size()-int64(len(length))))
	text, fault := gzip.NewReader(p.file)
	if err = errors.Join(err, fault); err != nil {
		return fmt.Errorf("%s: %w", r.From, err)
	}
	from := max(0, int64(binary.LittleEndian.Uint32(length))-most)
	if _, err := io.CopyN(io.Discard, text, from); err != nil {
		return fmt.Errorf("%s: %w", r.From, err)
	}
	counted := &counting{in: io.LimitReader(text, most)}
	err = s.read(ctx, counted, from == 0, count)
	if r.Bytes += counted.n; err != nil {
		return fmt.Errorf("%s: %w", r.From, err)
	}
	return nil
}

// A counting reader knows how much it has read.
type counting struct {
	in io.Reader
	n  int64
}

// Read implements io.Reader.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}

// denied says what makes a file readable, where a right is missing.
func denied(what string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &NotKnown{Why: fmt.Sprintf("%s: %v: let the user of upkeep read it, as group adm does on Debian", what,
			err)}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// end reads the end of a file.
func (r *Report) end(ctx context.Context, s *server, file *os.File, most int64, count *tally) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	from := max(0, info.Size()-most)
	r.Bytes += info.Size() - from
	return s.read(ctx, io.NewSectionReader(file, from, info.Size()-from), from == 0, count)
}

// read counts what a reader gives, in the format that the name of the log has.
func (s *server) read(ctx context.Context, text io.Reader, whole bool, count *tally) error {
	switch path.Ext(s.logged) {
	case ".csv":
		return s.layout.csv(ctx, text, whole, count)
	case ".json":
		return s.layout.json(ctx, text, whole, count)
	}
	return s.layout.stderr(ctx, text, whole, count)
}

// own reads the files of the server's own collector.
func (r *Report) own(ctx context.Context, s *server, t *target.Postgres, db *target.Database, count *tally) error {
	switch {
	case !s.Collector:
		return &NotKnown{Why: fmt.Sprintf("the server does not write its log itself (logging_collector is off, "+
			"log_destination %s): name its file%s or its container in log of the target", s.Destination, s.debian())}
	case !s.Lists:
		return &NotKnown{Why: "where the server writes its log is hidden from this role: grant pg_monitor to it",
			SQL: "GRANT pg_monitor TO " + pgx.Identifier{s.Role}.Sanitize() + ";"}
	}
	err := db.QueryRow(ctx, whereSQL).Scan(&s.dataDirectory, &s.logDirectory, &s.pattern)
	if err != nil {
		return err
	}
	list, err := target.Rows[listed](ctx, db, filesSQL)
	if err != nil {
		return err
	}
	if list = s.family(list); len(list) == 0 {
		return &NotKnown{Why: fmt.Sprintf("the server writes its log to no file of its log_directory (log_destination "+
			"%s): name its file in log of the target", s.Destination)}
	}
	s.logged = list[0].Name
	why := "it is on another machine"
	if t.Local() {
		local, err := r.here(ctx, s, db, list, count)
		if err == nil && local {
			return nil
		}
		if why = "its files are not those of this machine"; err != nil {
			why = err.Error()
		}
	}
	if s.Reads {
		return r.sent(ctx, s, db, list, count)
	}
	return &NotKnown{
		Why: fmt.Sprintf("the log of the server cannot be read here (%s), and the role may not read it there: let "+
			"upkeep read the file, or grant the right in database %s; the function also reads the files of data", why,
			s.Database),
		SQL: "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO " +
			pgx.Identifier{s.Role}.Sanitize() + ";"}
}

// debian is where Debian's packages have the log of a cluster: its name is made by them.
func (s *server) debian() string {
	version, name, found := strings.Cut(s.Cluster, "/")
	_, err := strconv.Atoi(version)
	if !found || err != nil || !regexp.MustCompile(`^[\w-]+$`).MatchString(name) {
		return ""
	}
	return " (on Debian /var/log/postgresql/postgresql-" + version + "-" + name + ".log)"
}

// family are the files of a log, the newest first, as far as they are young enough: those of the format that says
// most. The folder may have files of others.
func (s *server) family(all []listed) (list []listed) {
	for _, format := range []struct{ destination, end string }{{"jsonlog", ".json"}, {"csvlog", ".csv"},
		{"stderr", ""}} {
		like := named(s.pattern, format.end)
		if !strings.Contains(s.Destination, format.destination) || like == nil {
			continue
		}
		for _, f := range all {
			if like.MatchString(f.Name) && (len(list) == 0 || f.Modified.After(s.Now.Add(-Span))) {
				list = append(list, f)
			}
		}
		if len(list) > 0 {
			break
		}
	}
	return list
}

// named is an expression for the names that log_filename makes. A name that ends in .log ends otherwise in the formats
// that have an end of their own.
func named(pattern, end string) *regexp.Regexp {
	if end != "" {
		pattern = strings.TrimSuffix(pattern, ".log") + end
	}
	var b strings.Builder
	b.WriteString("^")
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] != '%':
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		case i+1 < len(pattern) && pattern[i+1] == '%':
			b.WriteString("%")
			i++
		default:
			b.WriteString(`[\w+-]+`)
			i++
		}
	}
	re, err := regexp.Compile(b.String() + "$")
	if err != nil {
		return nil
	}
	return re
}

// here reads the files on this machine, and reports whether they are those of the server: the one that it writes has
// the size and the time here that the server sees, before or after.
func (r *Report) here(ctx context.Context, s *server, db *target.Database, list []listed, count *tally) (bool, error) {
	folder := s.logDirectory
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(s.dataDirectory, folder)
	}
	if !filepath.IsAbs(folder) {
		return false, nil
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return false, err
	}
	defer func() { _ = root.Close() }() // was only looked through
	file, err := files.In(root, list[0].Name)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	later, err := target.Rows[listed](ctx, db, filesSQL)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(later, func(f listed) bool { return f.Name == list[0].Name })
	if i < 0 || !between(list[0], info, later[i]) {
		return false, nil
	}
	r.From = "log file " + file.Name()
	left := int64(mostOfFiles)
	for n, f := range list {
		one := file
		if n > 0 {
			if one, err = files.In(root, f.Name); err != nil {
				continue // it was removed meanwhile
			}
		}
		before := r.Bytes
		err = r.end(ctx, s, one, left, count)
		if n > 0 {
			_ = one.Close() // read only
		}
		if left -= r.Bytes - before; err != nil || left <= 0 {
			return true, err
		}
	}
	return true, nil
}

// between reports whether a file here is what the server saw of it before and after.
func between(before listed, here fs.FileInfo, after listed) bool {
	at := here.ModTime().Truncate(time.Second)
	return before.Size <= here.Size() && here.Size() <= after.Size &&
		!at.Before(before.Modified.Truncate(time.Second)) &&
		!at.After(after.Modified)
}

// sent reads the files by the server.
func (r *Report) sent(ctx context.Context, s *server, db *target.Database, list []listed, count *tally) error {
	r.From = "log file " + s.logged + ", by pg_read_binary_file"
	left := int64(mostOfServer)
	for _, f := range list {
		from := max(0, f.Size-left)
		var text []byte
		for at := from; at < f.Size; at += piece {
			var part []byte
			err := db.QueryRow(ctx, pieceSQL, s.logDirectory+"/"+f.Name, at, min(piece, f.Size-at)).Scan(&part)
			if err != nil {
				return fmt.Errorf("%s: %w", r.From, err)
			}
			if text = append(text, part...); len(part) == 0 {
				break // it was removed or cut meanwhile
			}
		}
		r.Bytes += int64(len(text))
		if err := s.read(ctx, bytes.NewReader(text), from == 0, count); err != nil {
			return err
		}
		if left -= int64(len(text)); left <= 0 {
			break
		}
	}
	return nil
}
