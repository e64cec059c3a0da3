package follow

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Restore has the log go on where a state was saved. With recall, the text before is given to the
// sink's Recall.
func (l *Log) Restore(all []Generation, recall bool) {
	for _, g := range all {
		fresh := &generation{plain: l.Plain, Generation: g, grew: l.now()}
		if g.Rotated {
			fresh.rotated = l.now()
		}
		l.all = append(l.all, fresh)
	}
	l.begun, l.restored = true, recall
}

// State returns what Restore needs.
func (l *Log) State() []Generation {
	all := make([]Generation, len(l.all))
	for i, g := range l.all {
		all[i] = g.Generation
		all[i].Rotated = !g.rotated.IsZero()
	}
	return all
}

// Close gives every file back.
func (l *Log) Close() {
	for _, g := range l.all {
		g.release(l.Budget)
	}
}

// Ended reports whether everything was read that there was, and nothing is there any more.
func (l *Log) Ended() bool {
	return !slices.ContainsFunc(l.all, func(g *generation) bool { return !g.Closed || g.name != "" })
}

// Empty reports whether no file of the log was ever found.
func (l *Log) Empty() bool { return len(l.all) == 0 }

// Skip passes over what is in the log now.
func (l *Log) Skip() error {
	if err := l.Hold(); err != nil {
		return err
	}
	for i, g := range l.all {
		g.Offset = g.info.Size()
		if g.file != nil && !g.Packed {
			g.remember(g.file)
		}
		if i < len(l.all)-1 {
			l.close(g)
		}
	}
	return nil
}

// Restless reports whether the log has grown by so much since it was read, or was truncated. It
// looks at the file that is held, and at nothing else.
func (l *Log) Restless(by int64) bool {
	if len(l.all) == 0 {
		return true
	}
	g := l.all[len(l.all)-1]
	if g.file == nil {
		return true
	}
	info, err := g.file.Stat()
	return err != nil || info.Size() < g.Offset || info.Size() >= g.Offset+by
}

// Hold finds the files of the log and holds them open, but does not read them.
func (l *Log) Hold() error { return l.look(func(*target.LogFolder) error { return nil }) }

// Look reads what was written since the last time. It returns fs.ErrNotExist where there is
// no folder any more, when it has read what is held of it.
func (l *Log) Look(ctx context.Context) error {
	return l.look(func(folder *target.LogFolder) error { return l.read(ctx, folder) })
}

func (l *Log) look(then func(*target.LogFolder) error) error {
	folder, err := l.Open()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && l.begun {
			for _, g := range l.all {
				g.name = ""
			}
			return errors.Join(err, l.emptied(), then(nil))
		}
		return err
	}
	defer folder.Close()
	if err := l.find(folder); err != nil {
		return err
	}
	return then(folder)
}
