package rows_test

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

func dmlKinds() []kind {
	return []kind{
		{name: "insert old", do: func(q *gust) error { return q.put(srcName, 25, 198, 182) }},
		{name: "insert young", do: func(q *gust) error { return q.put(srcName, 15, 90, 1) }},
		{name: "update values", do: update},
		{name: "age from old to young", do: func(q *gust) error {
			return q.age("at < now() - interval '180 days'", 170,
				110)
		}},
		{name: "age from young to old", do: func(q *gust) error {
			return q.age("at >= now() - interval '180 days'", 198,
				182)
		}},
		{name: "delete", do: func(q *gust) error {
			ids, _, err := q.ids("delete from %s where id %% 13 = %d and %s returning id", srcName, q.rng.IntN(13),
				q.unreferred())
			q.later(func() {
				for _, id := range ids {
					delete(q.model.rows, id)
				}
			})
			return err
		}},
		{name: "rows that refer", do: func(q *gust) error {
			all := slices.Sorted(maps.Keys(q.model.kids))
			if len(all) == 0 {
				return q.refer("no action")
			}
			kids := all[q.rng.IntN(len(all))]
			if q.rng.IntN(2) == 0 {
				return q.breed(kids, srcName, 3)
			}
			ids, _, err := q.ids("delete from %s where id %% 3 = 0 returning id", kids)
			q.later(func() {
				for _, id := range ids {
					delete(q.model.kids[kids], id)
				}
			})
			return err
		}},
	}
}

// insert puts rows into the source, in a transaction of its own.
func (w *world) insert(why string, n, from, to int) bool {
	return w.blow(why, func(q *gust) error { return q.put(srcName, n, from, to) })
}

// put puts rows into a table whose ages are between two numbers of days.
func (q *gust) put(table string, n, from, to int) error {
	first := q.next
	q.world.next += int64(n)
	ids, texts, err := q.ids("insert into %s (id, at, body, n, amount, pad) select i, %s::timestamptz + (i %% %d) * "+
		"interval '1 day' + i * interval '1 millisecond', 'b-' || i, i %% 1000, (i || '.123')::numeric, repeat('p', "+
		"%d) from generate_series(%d, %d) i returning id, at::text || '|' || amount",
		table, q.moment(from), max(1, from-to), stormPad, first, first+int64(n)-1)
	if err != nil {
		return err
	}
	if len(ids) != n {
		return fmt.Errorf("%d rows of %d came", len(ids), n)
	}
	q.later(func() {
		for i, id := range ids {
			at, amount, _ := strings.Cut(texts[i], "|")
			q.model.rows[id] = map[string]string{"id": fmt.Sprint(id), "at": at, "body": fmt.Sprintf("b-%d", id),
				"n": fmt.Sprint(id % 1000), "amount": amount, "pad": strings.Repeat("p", stormPad)}
		}
		q.touch(ids)
	})
	return nil
}

// stormPad makes a row so wide that a table has several batches.
const stormPad = 1400

// touch writes down that the storm has put rows where they are.
func (w *world) touch(ids []int64) {
	w.serial++
	for _, id := range ids {
		w.touched[id] = w.serial
	}
}

func update(q *gust) error {
	all, err := q.extras(srcName)
	if err != nil {
		return err
	}
	all = append(all, "body")
	return q.write(all[q.rng.IntN(len(all))], fmt.Sprintf("id %% 5 = %d", q.rng.IntN(5)))
}

// age moves the ages of some rows.
func (q *gust) age(where string, from, to int) error {
	ids, texts, err := q.ids("update %s set at = %s::timestamptz + (id %% %d) * interval '1 day' where %s and id %% "+
		"6 = %d and %s returning id, at::text",
		srcName, q.moment(from), max(1, from-to), where, q.rng.IntN(6), q.unreferred())
	if err != nil {
		return err
	}
	q.later(func() {
		q.model.set(ids, "at", func(i int, _ int64) string { return texts[i] })
		q.touch(ids)
	})
	return nil
}

// draw takes the next kind of the deck. Each action has a deck of its own, in which
// each kind comes once before any comes again, and which the next seed of the scene
// goes on with: so each kind meets each action as often as any other.
func (w *world) draw() kind {
	all := kinds()
	at, begun := w.decks[w.running]
	if !begun {
		at = w.seed / len(scenes()) * stormDraws
	}
	w.decks[w.running] = at + 1
	sum := fnv.New64a()
	_, _ = fmt.Fprintf(sum, "%s %d", w.running, at/len(all)) // a hash takes everything
	order := rand.New(rand.NewPCG(sum.Sum64(), 11)).Perm(len(all))
	return all[order[at%len(all)]]
}

// stormDraws is about how many kinds a seed draws beside one action.
const stormDraws = 5

// gustOf runs one statement.
func (w *world) gustOf() {
	if w.left <= 0 {
		return
	}
	w.left--
	k := w.draw()
	w.tally.drawn[k.name]++
	done := false
	if k.do != nil {
		done = w.blow(k.name, k.do)
	} else {
		done = k.out(w) == nil
	}
	if done && w.running != "" && w.checks.Load() > 1 {
		w.pending = append(w.pending, k.name)
	}
}
