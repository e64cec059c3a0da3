package backup_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/backup"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A dump is a file of a series.
type dump struct {
	size int
	age  time.Duration // negative: its time is to come
}

// lay puts dumps into a folder, each as a file or as a folder of files, and returns their pattern.
func lay(t *testing.T, r *rand.Rand, all []dump) string {
	t.Helper()
	dir := t.TempDir()
	for i, d := range all {
		at := time.Now().Add(-d.age)
		path := filepath.Join(dir, fmt.Sprintf("%d.dump", i))
		parts := map[string]int{path: d.size}
		if r.IntN(3) == 0 {
			if err := os.MkdirAll(filepath.Join(path, "deep"), 0o755); err != nil {
				t.Fatal(err)
			}
			parts = map[string]int{filepath.Join(path, "a"): d.size / 2, filepath.Join(path, "deep",
				"b"): d.size - d.size/2}
		}
		for name, size := range parts {
			err := os.WriteFile(name, make([]byte, size), 0o600)
			if err == nil {
				err = os.Chtimes(name, at, at)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return filepath.Join(dir, "*.dump")
}

// expected is what a series of dumps is reported as, and what its error says.
func expected(all []dump) (lines []string, wrong string) {
	all = slices.DeleteFunc(slices.Clone(all), func(d dump) bool { return d.age >= 0 && d.age < time.Minute })
	slices.SortFunc(all, func(a, b dump) int { return int(a.age - b.age) })
	lines = []string{fmt.Sprintf(`upkeep_backups{server="s",stanza=""} %d`, len(all))}
	switch {
	case len(all) == 0:
		return lines, ""
	case all[0].age < 0:
		return lines, "in the future"
	}
	ok := 1
	if all[0].size == 0 || len(all) > 1 && 2*all[0].size < all[1].size {
		ok = 0
	}
	return append(lines, fmt.Sprintf(`upkeep_backup_last_size_bytes{server="s",stanza=""} %d`, all[0].size),
		fmt.Sprintf(`upkeep_backup_last_ok{server="s",stanza=""} %d`, ok)), ""
}

// Whatever files there are, in whatever order: those that are finished count, the newest gives age and size, and is
// good
// where it is not empty and has half of the size of the one before. A time to come is an error, and no age.
func TestFilesAgainstAModel(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 13))
	seen := make(map[string]bool)
	for range 120 {
		var all []dump
		for i := range r.IntN(6) {
			d := dump{[]int{0, 1, 500, 999, 1000, 2000}[r.IntN(6)], time.Duration(1+i)*time.Hour +
				time.Duration(r.IntN(3000))*time.Second}
			switch r.IntN(12) {
			case 0:
				d.age = time.Duration(i) * time.Second // it is written to
			case 1:
				d.age = -time.Duration(1+i) * time.Hour
			}
			all = append(all, d)
		}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		b := target.Backup{Name: "s", Kind: "files", Path: lay(t, r, all)}
		want, wrong := expected(all)
		c := backup.Age(&b)
		w := collectors.NewWriter(c)
		err := c.Collect(t.Context(), w)
		if (err != nil) != (wrong != "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Fatalf("%v: %v, want %q", all, err, wrong)
		}
		var got []string
		for line := range strings.Lines(string(w.Text())) {
			if !strings.Contains(line, "timestamp") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if !slices.Equal(got, want) || strings.Contains(string(w.Text()), "timestamp") != (len(want) > 1) {
			t.Fatalf("%v:\n%s\nwant\n%s", all, w.Text(), strings.Join(want, "\n"))
		}
		seen[strings.Join(want[1:], " ")+wrong] = true
	}
	if len(seen) < 8 {
		t.Errorf("the series are all alike: %v", seen)
	}
}

// The guard of a destructive action sees the backups that the collector counts, but for empty ones, with their times.
func TestSeriesAreThoseThatAreReported(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 14))
	for range 40 {
		var all []dump
		full := 0
		for i := range r.IntN(5) {
			d := dump{r.IntN(2) * 100, time.Duration(i+1) * time.Hour}
			if r.IntN(4) == 0 {
				d.age = time.Duration(i) * time.Second
			}
			if d.size > 0 && d.age >= time.Minute {
				full++
			}
			all = append(all, d)
		}
		b := target.Backup{Name: "s", Kind: "files", Path: lay(t, r, all)}
		got, err := backup.ReadSeries(t.Context(), &b)
		if err != nil || len(got) != 1 || len(got[0].Backups) != full || !got[0].Verified.At.IsZero() {
			t.Fatalf("%v: %+v, %v, want %d", all, got, err, full)
		}
		for _, one := range got[0].Backups {
			if one.At.After(time.Now().Add(-time.Minute)) || one.Name == "" {
				t.Errorf("%v: %+v", all, one)
			}
		}
	}
}
