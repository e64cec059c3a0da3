package bloat_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors/postgres/bloat"
)

// columns makes some of each kind, with or without nulls.
func columns(random *rand.Rand) bloat.Columns {
	var c bloat.Columns
	for range 1 + random.IntN(12) {
		kind := random.IntN(5)
		length := []int32{1, 2, 4, 8, -1}[kind]
		width, nulls := float64(length), 0.0
		if length < 0 {
			width = random.Float64() * 300
		}
		if random.IntN(3) == 0 {
			nulls = random.Float64()
		}
		if random.IntN(10) == 0 {
			nulls = 1
		}
		c.Length, c.Align = append(c.Length, length), append(c.Align, []string{"c", "s", "i", "d", "i"}[kind])
		c.Width, c.NullFrac = append(c.Width, &width), append(c.NullFrac, &nulls)
	}
	return c
}

// The rows of any table and the entries of any index need a number of pages that grows with them
// and as pages are filled less, that holds all of their data, and never less than one row a page.
func TestPagesGrow(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for n := range 3000 {
		c, rows := columns(random), math.Floor(math.Exp(random.Float64()*30))
		block, fill := []float64{1024, 8192, 32768}[random.IntN(3)], 10+90*random.Float64()
		data := 0.0
		for i := range c.Length {
			data += (1 - *c.NullFrac[i]) * *c.Width[i]
		}
		for what, pages := range map[string]func(rows, fill float64) float64{
			"heap":  func(rows, fill float64) float64 { return bloat.HeapPages(c, rows, block, fill) },
			"index": func(rows, fill float64) float64 { return bloat.BtreePages(c, rows, 0, block, fill) },
		} {
			got := pages(rows, fill)
			switch {
			case math.IsNaN(got) || math.IsInf(got, 0) || got != math.Floor(got) || got < 1:
				t.Fatalf("case %d, %s: %v pages of %v rows", n, what, got, rows)
			case got > pages(rows+1, fill) || got > pages(2*rows, fill):
				t.Fatalf("case %d, %s: %v pages of %v rows, and fewer of more", n, what, got, rows)
			case got > pages(rows, fill/2):
				t.Fatalf("case %d, %s: %v pages, and fewer where they are filled half as much", n, what, got)
			case data < block/2 && got*block < rows*data*0.999-block:
				t.Fatalf("case %d, %s: %v pages of %v bytes do not hold %v bytes", n, what, got, block, rows*data)
			}
			if what == "heap" && got > rows {
				t.Fatalf("case %d: %v pages of %v rows", n, got, rows)
			}
		}
		distinct := 1 + math.Floor(rows*random.Float64())
		if one, shared := bloat.BtreePages(c, rows, 0, block, fill), bloat.BtreePages(c, rows, distinct, block,
			fill); shared > one {
			t.Fatalf("case %d: %v pages with shared entries, %v without", n, shared, one)
		}
	}
}

// Known tables: what PostgreSQL 15 itself needs for such rows after VACUUM FULL.
func TestPagesOfKnownTables(t *testing.T) {
	fixed := func(lengths ...int32) (c bloat.Columns) {
		none := 0.0
		for _, length := range lengths {
			width := float64(length)
			c.Length, c.Align = append(c.Length, length), append(c.Align,
				map[int32]string{1: "c", 2: "s", 4: "i", 8: "d"}[length])
			c.Width, c.NullFrac = append(c.Width, &width), append(c.NullFrac, &none)
		}
		return c
	}
	for _, test := range []struct {
		name string
		got  float64
		want float64
	}{
		{"a table of int4: 226 rows a page", bloat.HeapPages(fixed(4), 226_000, 8192, 100), 1000},
		{"of int8: as many", bloat.HeapPages(fixed(8), 226_000, 8192, 100), 1000},
		{"of two int8: 185 rows a page", bloat.HeapPages(fixed(8, 8), 185_000, 8192, 100), 1000},
		{"of int4, int8, int4: padded to 24 bytes", bloat.HeapPages(fixed(4, 8, 4), 157_000, 8192, 100), 1000},
		{"of int8, int4, int4: 16 bytes", bloat.HeapPages(fixed(8, 4, 4), 185_000, 8192, 100), 1000},
		{"without columns", bloat.HeapPages(bloat.Columns{}, 291_000, 8192, 100), 1000},
		{"no rows", bloat.HeapPages(fixed(4), 0, 8192, 100), 0},
		{"never analyzed", bloat.HeapPages(fixed(4), -1, 8192, 100), 0},
		{"an index of nothing", bloat.BtreePages(fixed(8), 0, 0, 8192, 90), 1},
		{"an index never analyzed", bloat.BtreePages(fixed(8), -1, 0, 8192, 90), 1},
		{"an index of one entry", bloat.BtreePages(fixed(8), 1, 0, 8192, 90), 2},
		{"chunks", bloat.TOASTPages(9), 3},
		{"no chunks", bloat.TOASTPages(0), 0},
	} {
		if test.got != test.want {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
	// 1,000,000 int8 keys are 2745 pages after REINDEX.
	if got := bloat.BtreePages(fixed(8), 1e6, 0, 8192, 90); math.Abs(got-2745) > 10 {
		t.Errorf("a million keys: %v pages", got)
	}
}

// More than is needed is never less than nothing, nor more than there is.
func TestExcess(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for range 2000 {
		pages, needed := random.Int64N(1<<40), random.Float64()*(1<<40)
		bytes, ratio := bloat.Excess(pages, needed, 8192)
		if bytes < 0 || ratio < 0 || ratio > 1 || (bytes > 0) != (float64(pages) > needed) || bytes > pages*8192 {
			t.Fatalf("%d pages, %v needed: %d bytes, %v", pages, needed, bytes, ratio)
		}
	}
	for _, pages := range []int64{0, -1} {
		if bytes, ratio := bloat.Excess(pages, 0, 8192); bytes != 0 || ratio != 0 {
			t.Errorf("%d pages: %d bytes, %v", pages, bytes, ratio)
		}
	}
}

// Without statistics of one column nothing is known of the row.
func TestKnown(t *testing.T) {
	one := 1.0
	for _, test := range []struct {
		c    bloat.Columns
		want bool
	}{
		{bloat.Columns{}, true},
		{bloat.Columns{Length: []int32{4}, Width: []*float64{&one}, NullFrac: []*float64{&one}}, true},
		{bloat.Columns{Length: []int32{4}, Width: []*float64{nil}, NullFrac: []*float64{&one}}, false},
		{bloat.Columns{Length: []int32{4, 4}, Width: []*float64{&one, &one}, NullFrac: []*float64{&one, nil}}, false},
	} {
		if got := test.c.Known(); got != test.want {
			t.Errorf("%+v: %v", test.c, got)
		}
	}
}
