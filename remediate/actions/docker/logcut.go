package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// archive puts the first n bytes of the log, and the end of the line that the cut
// divides, into a store. Each object has the lines that begin in one grain, so
// that an attempt that was stopped has put the same objects.
func (l *logFile) archive(ctx context.Context, f remediate.Fence, to depot.Store, id string, n, grain int64) error {
	start := int64(0)
	for next := grain; next <= n; next += grain {
		end, err := l.lineEnd(next)
		if err != nil {
			return err
		}
		if start >= next {
			continue // one line covers all of it
		}
		lines := make([]byte, end-start)
		if _, err := l.file.ReadAt(lines, start); err != nil {
			return fmt.Errorf("read at %d: %w", start, err)
		}
		if err := f.Check(ctx); err != nil {
			return err
		}
		if err := put(ctx, to, id, lines, lines[:bytes.LastIndexByte(lines[:next-start], '\n')+1]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// put keeps lines. Their name says when the first begins, and what those are that no
// cut divides: the last one may have been blanked by an attempt that was
// stopped, after it had put the object with all of it.
func put(ctx context.Context, to depot.Store, id string, lines, sure []byte) error {
	lines, sure = withoutBlank(lines), withoutBlank(sure)
	if len(sure) == 0 {
		sure = lines // one line, longer than the grain
	}
	if len(sure) == 0 {
		return nil // and blanked
	}
	name := id + "." + began(sure) + "." + depot.Sum(sure)[:32] + ".log.gz"
	content, err := to.Get(ctx, name)
	if errors.Is(err, depot.ErrMissing) {
		content, err = packed(lines)
	} else if err == nil {
		err = holds(content, lines, sure)
	}
	if err != nil {
		return fmt.Errorf("object %s: %w", name, err)
	}
	// One that is there already is put again: that makes sure that it has reached the disk.
	if err := to.Put(ctx, name, content); err != nil {
		return err
	}
	// What is cut is read back first.
	there, err := to.Get(ctx, name)
	if err == nil {
		err = holds(there, lines, sure)
	}
	if err != nil {
		return fmt.Errorf("object %s, read back: %w", name, err)
	}
	return nil
}

func packed(lines []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(lines); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// holds makes sure that an object has the lines: all of them, but for the last one,
// which may have been blanked in the file since.
func holds(content, lines, sure []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("%w: %w", depot.ErrDamaged, err)
	}
	there, err := io.ReadAll(io.LimitReader(z, int64(len(lines))+1))
	if err != nil {
		return fmt.Errorf("%w: %w", depot.ErrDamaged, err)
	}
	if !bytes.HasPrefix(there, sure) || len(there) > len(lines) {
		return depot.ErrDiffers
	}
	return nil
}

// withoutBlank leaves out the line that an earlier cut has blanked.
func withoutBlank(lines []byte) []byte {
	if rest := bytes.TrimLeft(lines, " "); len(rest) > 0 && rest[0] == '\n' {
		return rest[1:]
	}
	return lines
}

// began returns the time of the first line, for people and in the order of names.
func began(lines []byte) string {
	first, _, _ := bytes.Cut(lines, []byte("\n"))
	var line struct{ Time time.Time }
	if err := json.Unmarshal(first, &line); err != nil {
		return "undated"
	}
	return line.Time.UTC().Format("20060102T150405.000000000Z")
}

// A place is where a log is to be cut. The bytes around the cut, with the time of a
// line in them, prove that no other process has moved the file since they were read, which is
// before its lines are archived.
type place struct {
	at, begin, from int64 // the cut, where its line begins, where around begins
	around          []byte
}

// place reads the bytes around a cut.
func (l *logFile) place(at int64) (c place, err error) {
	begin, end, err := l.line(at)
	if err != nil {
		return c, err
	}
	c = place{at: at, begin: begin, from: max(begin-512, 0)}
	c.around = make([]byte, end-c.from)
	if _, err := l.file.ReadAt(c.around, c.from); err != nil {
		return c, fmt.Errorf("read at %d: %w", c.from, err)
	}
	return c, nil
}

// still makes sure that the log is as it was when the place was read.
func (c place) still(file *os.File, around []byte) error {
	now := make([]byte, len(around))
	if _, err := file.ReadAt(now, c.from); err != nil {
		return fmt.Errorf("read at %d: %w", c.from, err)
	}
	if !bytes.Equal(now, around) {
		return errors.New("somebody else has changed the log while it was to be cut; nothing was cut")
	}
	return nil
}

// cut takes the head out of the file, up to a place. If it is killed, it leaves a log that
// can be read: either nothing has happened, or one line is blank, or it is done.
func (l *logFile) cut(ctx context.Context, f remediate.Fence, k target.Container, c place) error {
	n, begin, from := c.at, c.begin, c.from
	around := bytes.Clone(c.around)
	if err := l.appended(k); err != nil {
		return err // while it was archived somebody may have come
	}
	file, info, err := l.reopen(os.O_RDWR)
	if err != nil {
		return seen(err, k)
	}
	defer func() { _ = file.Close() }() // what has to be on disk was synced
	if !os.SameFile(info, l.info) {
		return fmt.Errorf("%w: the file is another", remediate.ErrGone)
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if err := c.still(file, around); err != nil {
		return err
	}
	line := bytes.Clone(around[begin-from:])
	if len(line) > 0 {
		// A reader of JSON passes over blanks and over an empty line; a part of a line
		// would cost it others too. The newline stays, so that to blank it twice is once.
		blank := around[begin-from : len(around)-1]
		for i := range blank {
			blank[i] = ' '
		}
		if _, err := file.WriteAt(blank, begin); err != nil {
			return fmt.Errorf("blank the line at %d: %w", begin, err)
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if err := c.still(file, around); err != nil {
		return err
	}
	err = collapse(file, n)
	if refusal, ok := remediate.Refused(err); ok {
		if _, err := file.WriteAt(line, begin); err != nil { // nothing has moved
			return fmt.Errorf("%s; the line at %d is blank now: %w", refusal.Detail, begin, err)
		}
	}
	return err
}

// collapse takes the head out, or refuses where the file system has done nothing
// because it cannot. It is never tried twice in one go: who was interrupted does not
// know whether it is done, and looks again from the start.
func collapse(file *os.File, n int64) error {
	err := unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, n)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM):
		return remediate.Refuse(remediate.ReasonUnfit,
			"the file system cannot take the head out of this file (%v): set max-size in daemon.json or the Compose "+
				"file, and make the container anew", err)
	}
	return fmt.Errorf("fallocate: collapse %d bytes: %w", n, err)
}
