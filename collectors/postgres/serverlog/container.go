package serverlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// container reads the log of a container that the configuration names, with the files that were rotated away.
func (r *Report) container(ctx context.Context, s *server, from target.PostgresLog, count *tally) error {
	r.From = "log of container " + from.Container
	all, err := from.Docker.Containers(ctx)
	i := slices.IndexFunc(all, func(c target.Container) bool { return c.Name == from.Container })
	switch {
	case i < 0 && err != nil:
		return err
	case i < 0:
		return &NotKnown{Why: fmt.Sprintf("engine %s has no container %q: correct log.container of the target",
			from.Docker.Name, from.Container)}
	}
	folder, err := from.Docker.OpenLog(all[i])
	if err != nil {
		return denied(r.From, err)
	}
	defer folder.Close()
	parts, err := opened(folder, s)
	defer func() {
		for _, p := range parts {
			_ = p.file.Close() // read only
		}
	}()
	if err != nil {
		return denied(r.From, err)
	}
	left := int64(mostOfFiles)
	for _, p := range parts {
		before := r.Bytes
		if err := r.part(ctx, s, p, left, count); err != nil {
			return err
		}
		if left -= r.Bytes - before; left <= 0 {
			break
		}
	}
	return nil
}

// A part is a file of a log.
type part struct {
	file   *os.File
	info   fs.FileInfo
	packed bool
}

// opened opens the files of a log before one is read, the newest first: a file that is rotated meanwhile is the same
// under its new name. Those that were last written before the span are left out.
func opened(folder *target.LogFolder, s *server) (parts []part, err error) {
	names, err := folder.Rotated()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(append(names, folder.Name())) {
		if slices.Contains(names, strings.TrimSuffix(name, ".gz")) && strings.HasSuffix(name, ".gz") {
			continue // it is being compressed
		}
		file, err := folder.Open(name)
		if errors.Is(err, fs.ErrNotExist) && name != folder.Name() {
			continue // it was rotated away meanwhile
		}
		if err != nil {
			return parts, err
		}
		info, err := file.Stat()
		known := slices.ContainsFunc(parts, func(p part) bool { return err == nil && os.SameFile(p.info, info) })
		if err != nil || known || name != folder.Name() && info.ModTime().Before(s.Now.Add(-Span)) {
			_ = file.Close() // read only
			if err != nil {
				return parts, err
			}
			continue
		}
		parts = append(parts, part{file, info, strings.HasSuffix(name, ".gz")})
	}
	return parts, nil
}

// part reads the end of a file, which may be compressed.
func (r *Report) part(ctx context.Context, s *server, p part, most int64, count *tally) error {
	if !p.packed {
		return r.end(ctx, s, p.file, most, count)
	}
	const trailer = 4 // the length of the text, at the end of the file
	length := make([]byte, trailer)
	if _, err := p.file.ReadAt(length, max(0, p.info.Size()-trailer)); err != nil {
		return fmt.Errorf("%s: %w", r.From, err)
	}
	text, err := gzip.NewReader(p.file)
	if err != nil {
		return fmt.Errorf("%s: %w", r.From, err)
	}
	from := max(0, int64(binary.LittleEndian.Uint32(length))-most)
	if _, err := io.CopyN(io.Discard, text, from); err != nil {
		return fmt.Errorf("%s: %w", r.From, err)
	}
	counted := &counting{in: io.LimitReader(text, most)}
	err = s.read(ctx, counted, from == 0, count)
	if r.Bytes += counted.n; err != nil {
		return fmt.Errorf("%s: %w", r.From, err)
	}
	return nil
}

// A counting reader knows how much it has read.
type counting struct {
	in io.Reader
	n  int64
}

// Read implements io.Reader.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}
