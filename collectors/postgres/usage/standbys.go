package usage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A StandbyError says that a standby that is to be asked about the use of indexes was
// not.
type StandbyError struct {
	Name string
	Err  error
}

func (e *StandbyError) Error() string { return "standby " + e.Name + ": " + e.Err.Error() }

// Unwrap returns why.
func (e *StandbyError) Unwrap() error { return e.Err }

// askStandbys asks all targets that follow a server, or follow one that does, and adds
// the indexes that their queries have used.
func askStandbys(ctx context.Context, of usageNode, database string, used map[usedIndexRow]bool) (all []usageNode,
	err error) {
	seen := map[*target.Postgres]bool{of.target: true}
	for next := slices.Clone(of.target.Replicas); len(next) > 0; next = next[1:] {
		r := next[0]
		if seen[r] {
			continue
		}
		seen[r] = true
		n, err := askStandby(ctx, r, of, database, used)
		if err != nil {
			return nil, &StandbyError{r.Name, err}
		}
		all = append(all, n)
		next = append(next, r.Replicas...)
	}
	return all, nil
}

func askStandby(ctx context.Context, r *target.Postgres, of usageNode, database string,
	used map[usedIndexRow]bool) (n usageNode, err error) {
	db, err := r.Database(database)
	if err != nil {
		return n, err
	}
	if n, err = readNode(ctx, r, db); err != nil {
		return n, err
	}
	switch {
	case n.evidence.System != of.evidence.System:
		return n, fmt.Errorf("it is a server of another cluster than %s", of.target.Name)
	case !n.evidence.Recovery:
		return n, errors.New("it is no standby any more")
	}
	rows, err := target.Rows[usedIndexRow](ctx, db, usedSQL)
	for _, row := range rows {
		used[row] = true
	}
	return n, err
}

// standbysOf lists the standbys of a server and of those that are asked: which of them
// is asked itself is said in As. What was matched to a monitored one has no other upstream.
func standbysOf(server usageNode, asked []usageNode) (all []seenStandby) {
	listed := server.target.StandbysListed
	var senders []senderRow
	var at []usageNode
	for _, n := range append([]usageNode{server}, asked...) {
		for _, s := range n.senders {
			if !listed || s.There && !s.archives() {
				senders, at = append(senders, s), append(at, n)
			}
		}
	}
	by := match(len(senders), len(asked), func(s, a int) bool {
		if listed {
			return asked[a].receiver.There && senders[s].There
		}
		return follows(asked[a], at[s], senders[s])
	})
	for i, s := range senders {
		one := seenStandby{Key: s.key()}
		if by[i] >= 0 {
			one.As = asked[by[i]].target.Name
		}
		all = append(all, one)
	}
	if server.evidence.Archives && !listed {
		all = append(all, seenStandby{Key: "whatever restores from the WAL archive (archive_mode is on)"})
	}
	return all
}

// follows reports whether nothing contradicts that a standby is the one that a server
// sends its WAL to.
func follows(standby, server usageNode, s senderRow) bool {
	r := standby.receiver
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	switch {
	case !r.There || !s.There || s.archives():
		return false
	case r.Seen && s.Slot != r.Slot:
		return false
	case differ(s.Application, r.Application):
		return false
	case r.Port != 0 && int(r.Port) != int(server.evidence.Port) && int(r.Port) != server.target.Port():
		return false
	}
	return !elsewhere(s.Address, r.Answer)
}

// elsewhere reports whether two addresses are of two machines. One of the loopback and
// one of another family tell nothing.
func elsewhere(a, b string) bool {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	if err1 != nil || err2 != nil || x.IsLoopback() || y.IsLoopback() || x.Is4() != y.Is4() {
		return false
	}
	return x != y
}

// match finds for as many as can be one of their own: for each of n which of m, or -1.
func match(n, m int, fits func(i, j int) bool) []int {
	of := make([]int, m)
	for j := range of {
		of[j] = -1
	}
	var find func(i int, tried []bool) bool
	find = func(i int, tried []bool) bool {
		for j := range m {
			if tried[j] || !fits(i, j) {
				continue
			}
			tried[j] = true
			if of[j] < 0 || find(of[j], tried) {
				of[j] = i
				return true
			}
		}
		return false
	}
	by := make([]int, n)
	for i := range n {
		by[i] = -1
		find(i, make([]bool, m))
	}
	for j, i := range of {
		if i >= 0 {
			by[i] = j
		}
	}
	return by
}
