package depot

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
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
// Where a column was generated, which takes no value, that is three statements: the
// rows go to a temporary table first.
//
// The name of the object ends in the SHA-256 of the file, and the first line has
// that of the rows. The same rows give the same object.
type Parcel struct {
	Format   int      `json:"format"` // 1
	Database string   `json:"database"`
	Schema   string   `json:"schema"`
	Table    string   `json:"table"`
	OID      int64    `json:"oid,omitempty"` // of the table
	Columns  []Column `json:"columns"`
	Types    []Type   `json:"types,omitempty"` // those of the columns whose text has a meaning of its own
	Names    []Name   `json:"names,omitempty"` // the objects behind names in the rows
	Column   string   `json:"column"`          // with the age of a row
	Oldest   string   `json:"oldest"`          // as PostgreSQL writes it, in UTC
	Newest   string   `json:"newest"`
	Rows     int      `json:"rows"`
	Bytes    int      `json:"bytes"` // of the rows' text
	SHA256   string   `json:"sha256"`
	Server   int      `json:"server"`             // version of the server, as a number
	System   string   `json:"system,omitempty"`   // the server's system identifier
	Encoding string   `json:"encoding,omitempty"` // of the rows' text, as PostgreSQL names it; "": UTF-8
	Load     string   `json:"load"`               // the statement, or the statements, that read the rows
}

// A Column is one column of the rows.
type Column struct {
	Name   string `json:"name"`
	Type   string `json:"type"`             // as format_type says it
	Number int    `json:"number,omitempty"` // in the table; a column keeps it when it is renamed
	// the expression that it was generated from; its values are those that were stored
	Made string `json:"made,omitempty"`
}

// A Type is an enum or a composite type: its values are written by names, or in an
// order, that may be changed after the rows have gone.
type Type struct {
	OID   int64    `json:"oid"`
	Name  string   `json:"name"`
	Parts []Member `json:"parts"`
}

// A Member is a label of an enum or an attribute of a composite type.
type Member struct {
	Number int64  `json:"number"` // the label's OID, or the attribute's number: it stays when the name is changed
	Name   string `json:"name"`
	Type   string `json:"type,omitempty"` // of an attribute
}

// A Name is a value whose text is the name of something else in its database, like a
// table, which may be another's one day.
type Name struct {
	Type string `json:"type"` // regclass and the like
	Name string `json:"name"`
	OID  int64  `json:"oid"`
}

const (
	heading = "# upkeep "
	suffix  = ".copy.gz"
	digits  = 64 // of a SHA-256
)

// largestHeading bounds the first line of an object: columns and labels have a
// few hundred bytes each, and there are at most 1,600 columns.
const largestHeading = 8 << 20

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
// them, but for their number. More rows than can be read back are ErrTooLarge.
func (p *Parcel) Seal(rows []byte) (name string, content []byte, err error) {
	s := NewSealer(nil)
	defer s.Close()
	if _, err := s.Write(rows); err != nil {
		return "", nil, err
	}
	name, c, err := s.Seal(p)
	if err != nil {
		return "", nil, err
	}
	content, err = io.ReadAll(c.Reader())
	return name, content, err
}

// A Sealer makes the objects of parcels, one after the other. The rows are written to
// it piece by piece and kept compressed: some megabytes of them in memory, more in a
// file without a name, which is in the folder of the store, or where temporary files
// are.
type Sealer struct {
	spool spool
	zip   *gzip.Writer
	sum   hash.Hash
	size  int64
	most  int64
}

// NewSealer returns a Sealer for the objects of a store; nil: for none.
func NewSealer(s Store) *Sealer {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // it is a level
	sealer := &Sealer{zip: z, sum: sha256.New(), most: largest}
	if f, ok := s.(*folder); ok {
		sealer.spool.folder = f.path
	}
	sealer.Reset()
	return sealer
}

// Reset begins the next object. What was sealed before can be read no more.
func (s *Sealer) Reset() {
	s.spool.reset()
	s.zip.Reset(&s.spool)
	s.sum.Reset()
	s.size = 0
}

// Close gives up what the Sealer keeps.
func (s *Sealer) Close() { s.spool.reset() }

// Write takes the text of rows. More than can be read back is ErrTooLarge.
func (s *Sealer) Write(p []byte) (int, error) {
	if s.size += int64(len(p)); s.size > s.most {
		return 0, fmt.Errorf("%w: it would have more than %d MiB of rows", ErrTooLarge, s.most>>20)
	}
	s.sum.Write(p)
	return s.zip.Write(p)
}

// Seal returns the object of the rows that were written, and fills in what the parcel
// says of them, but for their number.
func (s *Sealer) Seal(p *Parcel) (name string, content Content, err error) {
	if err := s.zip.Close(); err != nil {
		return "", nil, err
	}
	p.Format, p.Bytes, p.SHA256 = 1, int(s.size), hex.EncodeToString(s.sum.Sum(nil))
	head, err := json.Marshal(p)
	if err != nil {
		return "", nil, err
	}
	if len(head) > largestHeading {
		return "", nil, fmt.Errorf("%w: what it says of its columns has %d MiB", ErrTooLarge, len(head)>>20)
	}
	// A gzip file may consist of several: the first is the heading, which can only be
	// written after the rows.
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // it is a level
	for _, text := range [][]byte{[]byte(heading), head, []byte("\n")} {
		if _, err := z.Write(text); err != nil {
			return "", nil, err
		}
	}
	if err := z.Close(); err != nil {
		return "", nil, err
	}
	content = both{memory(b.Bytes()), &s.spool}
	sum := sha256.New()
	if _, err := io.CopyBuffer(sum, content.Reader(), make([]byte, chunk)); err != nil {
		return "", nil, err
	}
	day := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, p.Oldest[:min(len(p.Oldest), 10)])
	return Prefix(p.Database, p.Schema, p.Table) + day + "." + hex.EncodeToString(sum.Sum(nil)) + suffix, content, nil
}

// OpenParcel returns what an object says of its rows, and the rows, after it has
// compared both checksums. An object that fails is ErrDamaged; one whose rows are too
// many for the memory is ErrTooLarge, and for a ParcelReader.
func OpenParcel(name string, content []byte) (p Parcel, rows []byte, err error) {
	return openParcel(name, content, largest)
}

func openParcel(name string, content []byte, most int64) (p Parcel, rows []byte, err error) {
	r, err := ReadParcel(name, bytes.NewReader(content))
	if err != nil {
		return p, nil, err
	}
	if rows, err = io.ReadAll(io.LimitReader(r, most)); err != nil {
		return r.Parcel, nil, err
	}
	var more [1]byte
	switch _, err := io.ReadFull(r, more[:]); {
	case err == nil:
		return r.Parcel, nil, fmt.Errorf("object %s: %w: it has %d MiB of rows, and %d are read at once", name,
			ErrTooLarge, r.Bytes>>20, most>>20)
	case !errors.Is(err, io.EOF):
		return r.Parcel, nil, err
	}
	return r.Parcel, rows, nil
}

// ReadBack fetches an object and compares it with what was put there: the object by
// the checksum in its name, what it says of its rows, and the rows by their checksum,
// their size and their number. It returns nil only where all of it is the same.
func ReadBack(ctx context.Context, s Store, name string, want Parcel) error {
	object, err := Open(ctx, s, name)
	if err != nil {
		return err
	}
	defer func() { _ = object.Close() }() // was read
	r, err := ReadParcel(name, object)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r},
		make([]byte, chunk)); err != nil {
		return err
	}
	head, err := json.Marshal(want)
	if err != nil {
		return err
	}
	if !bytes.Equal(r.head, head) {
		return fmt.Errorf("object %s: %w: it is of other rows than were put", name, ErrDiffers)
	}
	return nil
}

// A ParcelReader reads the rows of an object piece by piece. It ends with io.EOF only
// after all that was read was found to be what was put.
type ParcelReader struct {
	Parcel

	name string
	head []byte   // the Parcel as it is written
	raw  *counted // the object
	zip  io.Reader
	text *bufio.Reader // what is in it

	sum  hash.Hash // of the rows
	size int64
	rows int
	end  error
}

// counted is a reader that knows the checksum of what it has given, and remembers
// its own error, which says nothing of the object.
type counted struct {
	from io.Reader
	sum  hash.Hash
	err  error
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.sum.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// ReadParcel reads what an object says of its rows. What it says is known to be what
// was put only after the rows were read to their end.
func ReadParcel(name string, object io.Reader) (*ParcelReader, error) {
	r := &ParcelReader{name: name, raw: &counted{from: object, sum: sha256.New()}, sum: sha256.New()}
	if stem, ours := strings.CutSuffix(name, suffix); !ours || len(stem) < digits {
		return nil, fmt.Errorf("object %s: not the name of an archive object", name)
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(r.raw, chunk))
	if err != nil {
		return nil, r.damaged("%v", err)
	}
	r.zip, r.text = z, bufio.NewReaderSize(z, chunk)
	if r.head, err = r.heading(); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(r.head, &r.Parcel); err != nil {
		return nil, r.damaged("heading: %v", err)
	}
	if r.Format != 1 {
		if err := r.whole(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("object %s: its format is %d, and this upkeep reads 1: take a newer one", name, r.Format)
	}
	return r, nil
}

// heading reads the first line.
func (r *ParcelReader) heading() (head []byte, err error) {
	for err = bufio.ErrBufferFull; errors.Is(err, bufio.ErrBufferFull) && len(head) <= largestHeading; {
		var piece []byte
		piece, err = r.text.ReadSlice('\n')
		head = append(head, piece...)
	}
	head, headed := bytes.CutPrefix(head, []byte(heading))
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull):
		return nil, r.damaged("%v", err)
	case err != nil || !headed:
		return nil, r.damaged("it has no heading")
	}
	return bytes.TrimSuffix(head, []byte("\n")), nil
}

// Read implements io.Reader.
func (r *ParcelReader) Read(p []byte) (int, error) {
	if r.end != nil {
		return 0, r.end
	}
	n, err := r.text.Read(p)
	r.sum.Write(p[:n])
	r.size += int64(n)
	r.rows += bytes.Count(p[:n], []byte("\n"))
	switch {
	case errors.Is(err, io.EOF):
		r.end = r.compare()
	case err != nil:
		r.end = r.damaged("%v", err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, r.end
}

// compare returns io.EOF where the rows are those that were put.
func (r *ParcelReader) compare() error {
	if err := r.whole(); err != nil {
		return err
	}
	if got := hex.EncodeToString(r.sum.Sum(nil)); got != r.SHA256 || r.size != int64(r.Bytes) {
		return r.damaged("the SHA-256 of its rows is %s, want %s", got, r.SHA256)
	}
	if r.rows != r.Rows {
		return r.damaged("it has %d rows, want %d", r.rows, r.Rows)
	}
	return io.EOF
}

// Whole reads the rest of an object and says whether it is what was put. Who has met
// an error of what the rows were given to asks this first: they may have been damaged.
func (r *ParcelReader) Whole() error {
	for r.end == nil {
		_, _ = r.Read(make([]byte, chunk)) // the error is kept
	}
	if errors.Is(r.end, io.EOF) {
		return nil
	}
	return r.end
}

// whole reads what is left of the object and compares its checksum with the name's.
func (r *ParcelReader) whole() error {
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.raw, make([]byte, chunk)) // the error is kept
	if r.raw.err != nil {
		return fmt.Errorf("object %s: %w", r.name, r.raw.err)
	}
	stem := strings.TrimSuffix(r.name, suffix)
	if got := hex.EncodeToString(r.raw.sum.Sum(nil)); got != stem[len(stem)-digits:] {
		return fmt.Errorf("object %s: %w: its SHA-256 is %s", r.name, ErrDamaged, got)
	}
	return nil
}

// damaged is the error for an object that is not what was put.
func (r *ParcelReader) damaged(format string, args ...any) error {
	if err := r.whole(); err != nil {
		return err
	}
	return fmt.Errorf("object %s: %w: %s", r.name, ErrDamaged, fmt.Sprintf(format, args...))
}
