package follow

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/klauspost/compress/gzip"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// read reads every file to its end, the oldest first.
func (l *Log) read(ctx context.Context, folder *target.LogFolder) error {
	name := ""
	if folder != nil {
		name = folder.Name()
	}
	waiting := 0 // of those that were rotated away
	for _, g := range l.all {
		if !g.Closed && g.name != name {
			waiting++
		}
	}
	for _, g := range l.all {
		if l.restored {
			l.remind(folder)
		}
		if g.Closed {
			continue
		}
		current := folder != nil && g.name == name
		err := l.readOne(ctx, folder, g, current, waiting > lingering || folder == nil)
		if errors.Is(err, errMoved) {
			continue // the next look finds it
		}
		if err != nil {
			return err
		}
		if !current {
			waiting--
		}
	}
	return nil
}

func (l *Log) readOne(ctx context.Context, folder *target.LogFolder, g *generation, current, atOnce bool) error {
	file := g.file
	if file == nil {
		if folder == nil || g.name == "" { // it was not held, and is gone with its folder
			l.Missed++
			l.close(g)
			return nil
		}
		var err error
		if file, err = open(folder, entry{g.name, g.info}); err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // read only
	}
	if g.Packed {
		return l.readPacked(ctx, g, file)
	}
	take := func(last bool) error {
		n, err := l.Sink.Take(ctx, io.NewSectionReader(file, g.Offset, beyond), last)
		if g.Offset += n; n > 0 {
			l.Bytes += n
			g.grew = l.now()
			g.remember(file)
		}
		return err
	}
	if err := take(false); err != nil || current {
		return err
	}
	if g.rotated.IsZero() {
		g.rotated, g.grew = l.now(), l.now()
	}
	if !atOnce && l.now().Sub(g.grew) < linger {
		return nil
	}
	if err := take(true); err != nil {
		return err
	}
	l.close(g)
	return nil
}

// readPacked reads the rest of a compressed file, which is not written any more.
func (l *Log) readPacked(ctx context.Context, g *generation, file *os.File) error {
	in, err := gzip.NewReader(bufio.NewReaderSize(io.NewSectionReader(file, 0, beyond), headMost))
	if err == nil {
		_, err = io.CopyN(io.Discard, in, g.Offset)
	}
	if err == nil {
		var n int64
		n, err = l.Sink.Take(ctx, in, true)
		g.Offset += n
		l.Bytes += n
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.Missed++ // it is damaged
	}
	l.close(g)
	return nil
}

// close gives back a file that is not read any more.
func (l *Log) close(g *generation) {
	g.Closed = true
	g.release(l.Budget)
	if g.later != nil {
		g.Device, g.Inode = numbers(g.later)
		g.Packed = g.laterPacked
	}
}

// remind gives the sink the text before the place where reading begins again.
func (l *Log) remind(folder *target.LogFolder) {
	l.restored = false
	for _, g := range slices.Backward(l.all) {
		if g.Offset == 0 || g.Packed {
			continue
		}
		file := g.file
		if file == nil {
			if folder == nil || g.name == "" {
				return
			}
			var err error
			if file, err = folder.Open(g.name); err != nil {
				return
			}
			defer func() { _ = file.Close() }() // read only
		}
		text := make([]byte, min(g.Offset, recall))
		if _, err := file.ReadAt(text, g.Offset-int64(len(text))); err != nil {
			return
		}
		if g.Offset > recall {
			text = text[bytes.IndexByte(text, '\n')+1:]
		}
		l.Sink.Recall(text)
		return
	}
}
