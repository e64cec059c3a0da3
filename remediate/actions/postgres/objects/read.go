package objects

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A load is what was read for one batch. The text of its rows is in the sealer.
type load struct {
	parcel    depot.Parcel
	ids       []string          // ctid of each row
	versions  map[string]string // xmin by ctid
	oid, node int64
	last      string
	low, high float64 // ages of the oldest and the newest, in seconds since 1970
	text      int64   // of the rows, as far as their sizes tell
	weight    float64 // of the rows, as they lie in the table
	full      bool
}

// rows is how many rows a batch has at most. One whose rows are held until the store
// has taken them is small, since others wait for them for so long.
func (m *archiver) rows(held bool) int {
	n := m.most
	if held {
		n /= heldLess
	}
	return max(1, n/max(1, m.fewer))
}

// old is the condition that row t is past its age.
func (m *archiver) old() string {
	kind := m.kind
	if kind == "date" {
		kind = "timestamp" // a day is past its age when its midnight is
	}
	return "t." + pgx.Identifier{m.Column}.Sanitize() + " < $1::text::" + kind
}

// cursor is the statement that chooses a batch: which rows, and how large they are.
// They come in the order of their age where an index has it, so that an object has a
// narrow range of it, and else as they lie, which needs none.
func (m *archiver) cursor(held bool) string {
	age := "t." + pgx.Identifier{m.Column}.Sanitize()
	sql := "declare upkeep_batch no scroll cursor for select t.ctid, t.xmin, extract(epoch from " + age +
		"::timestamptz)::float8, " + age + "::timestamptz, " + age +
		", " + m.widths.text + ", " + m.widths.stored + " from only " + m.part.String() + " t where " + m.old()
	sign := " >= "
	if m.past {
		sign = " > "
	}
	switch {
	case m.indexed && m.last != "":
		sql += " and " + age + sign + "$2::text::" + m.kind
	case m.last != "":
		sql += " and t.ctid > $2::text::tid"
	}
	var free strings.Builder
	for _, l := range m.links {
		if slices.Contains(m.oids(), l.Of) {
			free.WriteString(" and " + l.Free())
		}
	}
	sql += free.String()
	if m.indexed {
		sql += " order by " + age + ", t.ctid"
	}
	sql += " limit " + strconv.Itoa(m.rows(held))
	if held {
		sql += " for update of t skip locked"
	}
	return sql
}

// read chooses the rows of a batch, and reads them into the sealer.
func (m *archiver) read(ctx context.Context, tx pgx.Tx, held bool) (l load, err error) {
	if m.indexed {
		// The planner takes the first rows of a large share for cheaper by a sort.
		if _, err := tx.Exec(ctx, "set local enable_seqscan = off; set local enable_bitmapscan = off",
			pgx.QueryExecModeSimpleProtocol); err != nil {
			return l, err
		}
	}
	args := []any{m.cut}
	if m.last != "" {
		args = append(args, m.last)
	}
	// A statement without a name is planned for what it is asked now.
	if _, err := tx.Exec(ctx, m.cursor(held), append([]any{pgx.QueryExecModeExec}, args...)...); err != nil {
		return l, err
	}
	if l.oid, l.node, err = m.identity(ctx, tx); err != nil {
		return l, err
	}
	l.versions, l.last = make(map[string]string), m.last
	// The first fetches are small: rows are looked at, and may be written as text, to
	// see how large they are.
	for fetch := 1; !l.full && l.parcel.Rows < m.rows(held); fetch = min(4*fetch, 1024) {
		if err := tooWide(m.fetch(ctx, tx.Conn(), fetch, &l)); errors.Is(err, errWide) && l.parcel.Rows == 0 {
			return l, remediate.Refuse(remediate.ReasonUnfit,
				"a row of %s past its age is too large for an object: the server cannot write it as text; what was "+
					"moved before stays moved: move the row by hand, or delete it", m.part)
		} else if err != nil {
			return l, err
		}
	}
	if _, err := tx.Exec(ctx, "close upkeep_batch", pgx.QueryExecModeSimpleProtocol); err != nil || l.parcel.Rows == 0 {
		return l, err
	}
	types, err := filedTypesOf(ctx, tx, m)
	if err != nil {
		return l, err
	}
	l.parcel.Database, l.parcel.Schema, l.parcel.Table, l.parcel.OID = m.Database, m.From.Schema, m.From.Name, m.root
	l.parcel.Columns, l.parcel.Types, l.parcel.Column = m.columns, types, m.Column
	l.parcel.Server, l.parcel.System, l.parcel.Encoding, l.parcel.Load = m.version, m.reader.System, m.encoding,
		loadStatement(m.From, m.columns, m.encoding)
	if l.parcel.Names, err = m.means(ctx, tx, l.ids); err != nil {
		return l, err
	}
	if err := m.takenBack(ctx, tx, l.ids); err != nil {
		return l, err
	}
	return l, m.copy(ctx, tx, &l)
}

// filedTypesOf reads the types again, where there are any: they may change at any
// moment, and rows are written by their names of now.
func filedTypesOf(ctx context.Context, tx pgx.Tx, m *archiver) ([]depot.Type, error) {
	if len(m.types) == 0 {
		return nil, nil
	}
	return filedTypes(ctx, tx, m.root)
}

// fetch chooses some more rows of a batch, until it is full.
func (m *archiver) fetch(ctx context.Context, c *pgx.Conn, n int, l *load) error {
	answer := c.PgConn().Exec(ctx, "fetch forward "+strconv.Itoa(n)+" from upkeep_batch")
	got := 0
	var refused error
	for answer.NextResult() {
		rows := answer.ResultReader()
		for rows.NextRow() {
			if got++; l.full || refused != nil {
				continue
			}
			refused = m.choose(rows.Values(), l)
		}
	}
	l.full = l.full || got < n
	return errors.Join(refused, answer.Close())
}

// choose takes one row into a batch, where there is room for it.
func (m *archiver) choose(values [][]byte, l *load) error {
	id := string(values[0])
	text, err := strconv.ParseInt(string(values[5]), 10, 64)
	if err != nil {
		return fmt.Errorf("size of a row: %w", err)
	}
	stored, err := strconv.ParseFloat(string(values[6]), 64)
	if err != nil {
		return fmt.Errorf("size of a row: %w", err)
	}
	if l.parcel.Rows > 0 && (l.text+text > fileBytes || m.beyond(l, stored)) {
		l.full = true
		return nil
	}
	if m.beyond(l, stored) {
		return remediate.Refuse(remediate.ReasonAmount,
			"%.0f rows were moved, or count as moved, and one more would be more than was approved or the policy "+
				"allows (%s): what is moved stays moved; plan again",
			m.quota.Gone().Rows, m.bound())
	}
	if text > rowMost {
		return m.tooLarge(id, fmt.Sprintf("%d MiB as text", text>>20))
	}
	l.ids = append(l.ids, id)
	l.versions[id] = string(values[1])
	l.text, l.weight = l.text+text, l.weight+stored
	l.parcel.Rows++
	l.last = id
	if m.indexed {
		l.last = string(values[4])
	}
	return l.aged(string(values[2]), string(values[3]))
}

// beyond reports whether a batch with one row more is more than the run may move.
func (m *archiver) beyond(l *load, stored float64) bool {
	more := l.amount()
	more.Rows, more.Bytes = more.Rows+1, more.Bytes+stored
	return !m.quota.Fits(more)
}

// amount is what the batch is of the quota.
func (l *load) amount() remediate.Amount {
	return remediate.Amount{Rows: float64(l.parcel.Rows), Bytes: l.weight}
}

func (m *archiver) bound() string {
	var words []string
	if m.fence.Most.Rows > 0 {
		words = append(words, fmt.Sprintf("%.0f rows", m.fence.Most.Rows))
	}
	if m.fence.Most.Bytes > 0 {
		words = append(words, remediate.Quantity("_bytes", m.fence.Most.Bytes))
	}
	return strings.Join(words, ", ")
}

// tooLarge is the refusal of a row that no object can hold.
func (m *archiver) tooLarge(id, size string) error {
	return remediate.Refuse(remediate.ReasonUnfit,
		"the row of %s with the ctid %s is too large for an object: it has %s, and %d MiB can be moved; nothing of "+
			"it was changed, and what was moved before stays moved: move the row by hand, or delete it", m.part, id,
		size, rowMost>>20)
}

// aged widens the range of ages by a row's.
func (l *load) aged(seconds, text string) error {
	age, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return fmt.Errorf("age of a row: %w", err)
	}
	if l.parcel.Oldest == "" || age < l.low {
		l.low, l.parcel.Oldest = age, text
	}
	if l.parcel.Newest == "" || age > l.high {
		l.high, l.parcel.Newest = age, text
	}
	return nil
}

// copy has the server write the rows of a batch, and hands them to the sealer as they
// come. It makes sure that they are the versions that were chosen.
func (m *archiver) copy(ctx context.Context, tx pgx.Tx, l *load) error {
	// By their places, and by nothing else: no plan is better.
	if _, err := tx.Exec(ctx, "set local enable_seqscan = off", pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	columns := make([]string, len(m.columns))
	for i, c := range m.columns {
		columns[i] = ", t." + pgx.Identifier{c.Name}.Sanitize()
	}
	m.sealer.Reset()
	w := &rowWriter{to: bufio.NewWriterSize(m.sealer, 64<<10), versions: l.versions, most: textMost}
	if len(l.ids) == 1 {
		w.most = 2*rowMost + 1<<20
	}
	_, err := tx.Conn().PgConn().CopyTo(ctx, w, "copy (select t.ctid, t.xmin"+strings.Join(columns, "")+" from only "+
		m.part.String()+
		` t where t.ctid = any ('{"`+strings.Join(l.ids, `","`)+`"}'::tid[])) to stdout`+encoded(m.encoding))
	if err == nil {
		err = w.end()
	}
	err = tooWide(err)
	switch {
	case errors.Is(err, errWide) && len(l.ids) == 1:
		return m.tooLarge(l.ids[0], "more than the server writes, or than an object holds")
	case err != nil:
		return err
	case w.rows != len(l.ids):
		return errDifferent
	}
	return nil
}

// A rowWriter takes what COPY writes for rows, of which the first two columns are the
// ctid and the xmin, compares these, and passes the others on.
type rowWriter struct {
	to       *bufio.Writer
	versions map[string]string
	most     int64

	head []byte // of a row, as far as it has come
	body bool   // the head is complete
	rows int
	size int64
	err  error
}

// Write implements io.Writer. An error is kept until the end: one that was returned
// would cost the session.
func (w *rowWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && w.err == nil {
		if !w.body {
			p = w.begin(p)
			continue
		}
		end := bytes.IndexByte(p, '\n') + 1
		if w.body = end == 0; w.body {
			end = len(p)
		} else {
			w.rows++
		}
		if w.size += int64(end); w.size > w.most {
			w.err = errWide
			break
		}
		_, w.err = w.to.Write(p[:end])
		p = p[end:]
	}
	return n, nil
}

// begin reads the head of a row and returns what is behind it.
func (w *rowWriter) begin(p []byte) []byte {
	for i, c := range p {
		if c == '\t' && bytes.IndexByte(w.head, '\t') >= 0 {
			id, version, _ := bytes.Cut(w.head, []byte("\t"))
			if was, chosen := w.versions[string(id)]; !chosen || was != string(version) {
				w.err = errDifferent
			}
			w.head, w.body = w.head[:0], true
			return p[i+1:]
		}
		w.head = append(w.head, c)
	}
	return nil
}

func (w *rowWriter) end() error {
	if w.err == nil {
		w.err = w.to.Flush()
	}
	return w.err
}

// means returns the objects of the names in some rows.
func (m *archiver) means(ctx context.Context, tx pgx.Tx, ids []string) (all []depot.Name, err error) {
	for _, n := range m.named {
		value, from := "t."+pgx.Identifier{n.Column}.Sanitize(), ""
		if n.Array {
			value, from = "v", ", unnest("+value+") v"
		}
		found, err := session.Many[depot.Name](ctx, tx,
			fmt.Sprintf("select distinct $2::text, %s::text, %[1]s::oid::int8 from only %s t%s where t.ctid = "+
				"any($1::text[]::tid[]) and %[1]s is not null order by 3, 2", value,
				m.part, from),
			ids, n.Type)
		if err != nil {
			return nil, fmt.Errorf("names in column %s: %w", n.Column, discreet(err))
		}
		all = append(all, found...)
	}
	return all, nil
}

// takenBack refuses rows with a value that the server writes and does not read as the
// same: their object could not bring them back.
func (m *archiver) takenBack(ctx context.Context, tx pgx.Tx, ids []string) error {
	for _, c := range m.doubtful {
		name := "t." + pgx.Identifier{c.Column}.Sanitize()
		sql := fmt.Sprintf("select exists (select from only %s t where t.ctid = any($1::text[]::tid[]) and "+
			"%s::text::%s::text is distinct from %[2]s::text)", m.part, name, c.Type)
		var other bool
		err := tx.QueryRow(ctx, sql, ids).Scan(&other)
		if refused, ok := errors.AsType[*pgconn.PgError](err); ok && (strings.HasPrefix(refused.Code, "22") ||
			strings.HasPrefix(refused.Code, "23")) {
			other, err = true, nil
		}
		if err != nil {
			return fmt.Errorf("whether column %s can be read back: %w", pgx.Identifier{c.Column}.Sanitize(),
				discreet(err))
		}
		if other {
			return remediate.Refuse(remediate.ReasonUnfit,
				"a row of %s past its age has a value of column %s, %s, that the server does not read back as it "+
					"writes it, so that an object could not bring it back: what was moved before stays moved; change "+
					"the value, or archive the table to a table", m.part,
				pgx.Identifier{c.Column}.Sanitize(), c.Type)
		}
	}
	return nil
}
