package remediate

import (
	"fmt"
	"math"
	"strings"
)

// An Amount is how much is deleted, dropped or pruned. Zero means that the unit does
// not apply or is not known.
type Amount struct {
	Rows    float64 `json:"rows,omitempty"`
	Bytes   float64 `json:"bytes,omitempty"`
	OfRows  float64 `json:"of_rows,omitempty"`  // total number of rows, for the share
	OfBytes float64 `json:"of_bytes,omitempty"` // total number of bytes
}

// What may go beyond the approved amount without another question: a plan's numbers
// are estimates of the server's statistics, and rows go on aging while a run waits
// for its window. Of a small amount a tenth is nothing, so that each counts at least
// as much as one batch removes.
const (
	tolerance      = 0.1
	toleratedRows  = 1000
	toleratedBytes = 64 << 20
)

// Tolerated returns how much may go where this amount was approved: a tenth more,
// and at least a thousand rows or 64 MiB more.
func (a *Amount) Tolerated() *Amount {
	if a == nil {
		return nil
	}
	t := new(Amount)
	if a.Rows > 0 {
		t.Rows = math.Floor(a.Rows + max(a.Rows*tolerance, toleratedRows))
	}
	if a.Bytes > 0 {
		t.Bytes = math.Floor(a.Bytes + max(a.Bytes*tolerance, toleratedBytes))
	}
	return t
}

// Exceeds reports whether more would go than most allows; nil allows anything, and
// so does a unit of most that is zero.
func (a *Amount) Exceeds(most *Amount) bool {
	if a == nil || most == nil {
		return false
	}
	return most.Rows > 0 && a.Rows > most.Rows || most.Bytes > 0 && a.Bytes > most.Bytes
}

// Least returns what both amounts allow; nil allows anything.
func (a *Amount) Least(b *Amount) *Amount {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return &Amount{Rows: least(a.Rows, b.Rows), Bytes: least(a.Bytes, b.Bytes)}
}

func least(a, b float64) float64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Most returns how much the terms let go of what there is; nil where they say nothing.
func (t Terms) Most(of *Amount) *Amount {
	if t.MostRows <= 0 && (t.MostShare <= 0 || of == nil) {
		return nil
	}
	most := &Amount{Rows: float64(t.MostRows)}
	if t.MostShare > 0 && of != nil {
		most.Rows = least(most.Rows, share(t.MostShare, of.OfRows))
		most.Bytes = share(t.MostShare, of.OfBytes)
	}
	if *most == (Amount{}) {
		return nil
	}
	return most
}

// share is at least 1 of what is known: 0 would allow anything.
func share(part, all float64) float64 {
	if all <= 0 {
		return 0
	}
	return max(math.Floor(part*all+1e-9), 1)
}

// String writes the amount for people: "13 of 50000 rows, 1 of 4 MiB".
func (a *Amount) String() string {
	if a == nil {
		return "nothing"
	}
	var parts []string
	if a.Rows > 0 || a.OfRows > 0 {
		parts = append(parts, of(fmt.Sprintf("%.0f", a.Rows), fmt.Sprintf("%.0f", a.OfRows), a.OfRows)+" rows")
	}
	if a.Bytes > 0 || a.OfBytes > 0 {
		parts = append(parts, of(bytes(a.Bytes), bytes(a.OfBytes), a.OfBytes))
	}
	if len(parts) == 0 {
		return "an unknown amount"
	}
	return strings.Join(parts, ", ")
}

func of(some, all string, known float64) string {
	if known == 0 {
		return some
	}
	return some + " of " + all
}
