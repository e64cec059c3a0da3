package target

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// What was seen of images is the same with a file, with one across restarts, and without:
// when each was first seen, whether at the first look of all, and when it was last used.
func TestSightings(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 3))
		path := filepath.Join(t.TempDir(), "new", "sightings")
		memory, kept := new(sightings), &sightings{path: path}
		model, engine := make(map[string]Sighting), ""
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600))
		for range 20 {
			now = now.Add(time.Duration(random.IntN(1e6)) * time.Millisecond)
			next := engine
			if engine == "" || random.IntN(15) == 0 {
				next = fmt.Sprint(random.IntN(3))
			}
			first := next != engine || len(model) == 0 && engine == ""
			engine = next
			seen, used, ids := make(map[string]Sighting), make(map[string]time.Time), []string{}
			for id := range 6 {
				name := fmt.Sprint(id)
				if random.IntN(4) == 0 {
					continue
				}
				ids = append(ids, name)
				one, was := model[name]
				if first || !was {
					one = Sighting{First: now.UTC(), Before: first}
				}
				if random.IntN(3) == 0 {
					used[name] = now.Add(-time.Duration(random.IntN(3600)) * time.Second)
					if used[name].After(one.Used) {
						one.Used = used[name].UTC()
					}
				}
				seen[name] = one
			}
			model = seen
			again := sightings{path: path} // another process
			for what, s := range map[string]*sightings{"in memory": memory, "in a file": kept, "read again": &again} {
				got, err := s.look(engine, now, ids, used)
				if err != nil || !maps.Equal(got, model) {
					t.Fatalf("seed %d, %s: %v %v, want %v", seed, what, got, err, model)
				}
				if len(got) > 0 { // what the caller does to it is not remembered
					got[ids[0]] = Sighting{}
				}
			}
		}
	}
}

// A file that was damaged is one that was never written; one that cannot be read is an error,
// and nothing is known.
func TestSightingsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sightings")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, text := range []string{"", "{", "null", "[]", `{"engine":1}`, `{"engine":"e","images":{"a":{"first":"x"}}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := sightings{path: path}
		got, err := s.look("e", now, []string{"a"}, nil)
		if err != nil || got["a"] != (Sighting{First: now, Before: true}) {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := (&sightings{path: path}).look("e", now, []string{"a"}, nil); err == nil || got != nil {
		t.Errorf("a folder: %v %v", got, err)
	}
}

// A note is complete at each moment, and what a killed process left of one is
// removed, but for what may be being written.
func TestWriteNote(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "note")
	for name, age := range map[string]time.Duration{"note.new-1": 2 * time.Hour, "note.new-2": time.Minute,
		"other": 2 * time.Hour} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteNote(path, []int{}); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for n := range 4 {
		writers.Go(func() {
			for range 10 {
				if err := WriteNote(path, slices.Repeat([]int{n}, 3000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 40 {
		text, err := os.ReadFile(path)
		var all []int
		if err != nil || json.Unmarshal(text, &all) != nil || len(all) > 0 && (len(all) != 3000 || all[0] != all[2999]) {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
	}
	writers.Wait()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"note", "note.new-2", "other"}) {
		t.Errorf("left: %v", names)
	}
	if err := WriteNote(path, func() {}); err == nil {
		t.Error("a function is JSON")
	}
	if err := WriteNote(filepath.Join(path, "below"), 1); err == nil {
		t.Error("a file is a folder")
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"": false, "0.0.0.0": false, "::": false, "localhost.example": false, "127.0.0.1.example": false,
		"169.254.1.1": false, "::ffff:127.0.0.1": true, "127.1": false} {
		if got := loopback(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
		if got := NeedsTLS("tcp", host); got == want {
			t.Errorf("%q needs TLS: %v", host, got)
		}
	}
	if NeedsTLS("unix", "") {
		t.Error("a socket needs TLS")
	}
}
