package depot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// A Parcel is a batch of rows as one object: a gzip file, whose first line is "#
// upkeep " and the Parcel as JSON, and whose other lines are the rows in the text
// form of COPY, which brings back every type exactly, on any version. So people
// need nothing of ours to look into one or to load it:
//
//	zcat FILE | head -1                              what it is
//	zcat FILE | tail -n +2 | psql -c "COPY … FROM stdin"   its rows, back; the statement is in the first line
//
// The name of the object ends in the SHA-256 of the file, and the first line has
// that of the rows. The same rows give the same object.
type Parcel struct {
	Format   int      `json:"format"` // 1
	Database string   `json:"database"`
	Schema   string   `json:"schema"`
	Table    string   `json:"table"`
	Columns  []Column `json:"columns"`
	Column   string   `json:"column"` // with the age of a row
	Oldest   string   `json:"oldest"` // as PostgreSQL writes it, in UTC
	Newest   string   `json:"newest"`
	Rows     int      `json:"rows"`
	Bytes    int      `json:"bytes"` // of the rows' text
	SHA256   string   `json:"sha256"`
	Server   int      `json:"server"` // version of the server, as a number
	Load     string   `json:"load"`   // the statement that reads the rows
}

// A Column is one column of the rows.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // as format_type says it
}

const (
	heading = "# upkeep "
	suffix  = ".copy.gz"
	digits  = 64 // of a SHA-256
)

// ErrDamaged says that an object is not what was put: a checksum is another, or it
// is cut off.
var ErrDamaged = errors.New("the object is damaged")

// Prefix is what the names of a table's objects begin with: something for people
// to read, and something that tells tables apart whose names look alike so.
func Prefix(database, schema, table string) string {
	plain := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}
	readable := strings.Map(plain, database+"."+schema+"."+table)
	whole := Sum(fmt.Appendf(nil, "%q %q %q", database, schema, table))
	return cmp.Or(strings.TrimLeft(readable[:min(len(readable), 80)], "-"), "table") + "." + whole[:12] + "."
}

// Seal makes the object of a parcel and its rows, and fills in what it says of
// them, but for their number.
func (p *Parcel) Seal(rows []byte) (name string, content []byte, err error) {
	p.Format, p.Bytes, p.SHA256 = 1, len(rows), Sum(rows)
	head, err := json.Marshal(p)
	if err != nil {
		return "", nil, err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return "", nil, err
	}
	for _, text := range [][]byte{[]byte(heading), head, []byte("\n"), rows} {
		if _, err := z.Write(text); err != nil {
			return "", nil, err
		}
	}
	if err := z.Close(); err != nil {
		return "", nil, err
	}
	day := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, p.Oldest[:min(len(p.Oldest), 10)])
	return Prefix(p.Database, p.Schema, p.Table) + day + "." + Sum(b.Bytes()) + suffix, b.Bytes(), nil
}

// OpenParcel returns what an object says of its rows, and the rows, after it has
// compared both checksums. An object that fails is ErrDamaged.
func OpenParcel(name string, content []byte) (p Parcel, rows []byte, err error) {
	fail := func(format string, args ...any) (Parcel, []byte, error) {
		return p, nil, fmt.Errorf("object %s: %w: %s", name, ErrDamaged, fmt.Sprintf(format, args...))
	}
	stem, ours := strings.CutSuffix(name, suffix)
	if !ours || len(stem) < digits {
		return p, nil, fmt.Errorf("object %s: its name is none of a parcel", name)
	}
	if want, got := stem[len(stem)-digits:], Sum(content); got != want {
		return fail("its SHA-256 is %s", got)
	}
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return fail("%v", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, largest))
	if err != nil {
		return fail("%v", err)
	}
	head, rows, found := bytes.Cut(text, []byte("\n"))
	head, headed := bytes.CutPrefix(head, []byte(heading))
	if !found || !headed {
		return fail("it has no heading")
	}
	if err := json.Unmarshal(head, &p); err != nil {
		return fail("heading: %v", err)
	}
	if p.Format != 1 {
		return p, nil, fmt.Errorf("object %s: its format is %d, and this upkeep reads 1: take a newer one", name, p.Format)
	}
	if got := Sum(rows); got != p.SHA256 || len(rows) != p.Bytes {
		return fail("the SHA-256 of its rows is %s, want %s", got, p.SHA256)
	}
	if n := bytes.Count(rows, []byte("\n")); n != p.Rows {
		return fail("it has %d rows, want %d", n, p.Rows)
	}
	return p, rows, nil
}
