package servertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// recipe is appended to the configuration of every cluster of the tests. It is in
// the file, so that a test's own settings and ALTER SYSTEM override it. A query of a
// test looks expensive to the planner where nothing was analyzed, and compiling it
// takes a second; segments of zeros are written for nothing.
const recipe = `
jit = off
wal_init_zero = off
`

// StartPostgres does what sandbox.StartPostgres does, but copies the cluster from one
// that is made once on a machine: initdb takes ten times as long as the copy. Each copy
// has a system identifier of its own, as each cluster of initdb has.
func StartPostgres(ctx context.Context, o sandbox.PostgresOptions) (*sandbox.Postgres, error) {
	if _, err := os.Stat(filepath.Join(o.Dir, "data", "PG_VERSION")); err != nil { // unless one was put there
		template, err := cluster(ctx, o)
		if err == nil {
			err = copyCluster(template, o.Dir)
		}
		if err != nil {
			return nil, fmt.Errorf("copying a cluster to %s: %w", o.Dir, err)
		}
	}
	o.Env = append(o.Env, cheap()...)
	return sandbox.StartPostgres(ctx, o)
}

// cheap is what makes a session cheap that asks little, as most of the tests do: symbols
// are looked up once, when the server starts, and not by each session; and the exit
// handlers of libraries do not tidy up at the end of each what goes with its process.
func cheap() []string {
	env := []string{"LD_BIND_NOW=1"}
	for _, folder := range caches() {
		found, _ := filepath.Glob(filepath.Join(folder, "quickexit-*", "quickexit.so")) // the pattern is well formed
		if len(found) > 0 {
			return append(env, "LD_PRELOAD="+found[0])
		}
	}
	return env
}

// cluster returns the folder with the cluster to copy for these programs. It is made
// where it is missing.
func cluster(ctx context.Context, o sandbox.PostgresOptions) (string, error) {
	key, err := fingerprint(o)
	if err != nil {
		return "", err
	}
	all := filepath.Join(os.TempDir(), fmt.Sprintf("upkeep-clusters-%d", os.Geteuid()))
	template := filepath.Join(all, key)
	if err := os.Mkdir(all, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(all)
	if err != nil {
		return "", err
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; !info.IsDir() || int(owner) != os.Geteuid() {
		return "", fmt.Errorf("%s is not a folder of ours", all)
	}
	last := filepath.Join(template, "data", "PG_VERSION") // which those who tidy up a machine remove with the rest
	if _, err := os.Stat(last); err == nil {
		return template, nil
	}
	lock, err := os.OpenFile(filepath.Join(all, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // which unlocks it
	for {
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			if err != nil {
				return "", err
			}
			break
		}
	}
	if _, err := os.Stat(last); err == nil {
		return template, nil // another process made it meanwhile
	}
	return template, makeTemplate(ctx, o.Bin, template)
}

// fingerprint names what a cluster is made with.
func fingerprint(o sandbox.PostgresOptions) (string, error) {
	initdb, server, err := o.Programs()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, _ = io.WriteString(sum, recipe) // never fails
	for _, path := range []string{initdb, server} {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano()) // as above
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:8]), nil
}

// makeTemplate makes the cluster elsewhere and moves it into place whole.
func makeTemplate(ctx context.Context, bin, template string) error {
	dir, err := Dir()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // sweep removes what is left
	made := filepath.Join(dir, "cluster")
	if err := sandbox.MakeCluster(ctx, sandbox.PostgresOptions{Dir: made, Bin: bin}); err != nil {
		return err
	}
	conf, err := os.OpenFile(filepath.Join(made, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString(recipe)
	if err = errors.Join(err, conf.Close(), os.RemoveAll(template)); err != nil {
		return err
	}
	return os.Rename(made, template)
}

// copyCluster copies a cluster that no server uses, and gives the copy an identifier of
// its own.
func copyCluster(from, to string) error {
	buffer := make([]byte, 256<<10)
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		copied := filepath.Join(to, relative)
		if entry.IsDir() {
			if err = os.Mkdir(copied, info.Mode().Perm()); relative == "." && errors.Is(err, fs.ErrExist) {
				err = nil
			}
		} else {
			err = copyFile(path, copied, info.Mode().Perm(), buffer)
		}
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		if int(owner.Uid) == os.Geteuid() {
			return nil
		}
		return os.Lchown(copied, int(owner.Uid), int(owner.Gid))
	})
	if err != nil {
		return err
	}
	return identify(filepath.Join(to, "data"))
}

// copyFile leaves out blocks of zeros, which most of a new segment of the WAL is.
func copyFile(from, to string, mode fs.FileMode, buffer []byte) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // nothing was written
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	size, sparse := int64(0), false
	for {
		n, err := io.ReadFull(in, buffer)
		if n > 0 {
			if sparse = n == len(buffer) && zero(buffer); !sparse {
				if _, err := out.WriteAt(buffer[:n], size); err != nil {
					return err
				}
			}
			size += int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if sparse {
		return out.Truncate(size)
	}
	return nil
}

func zero(block []byte) bool {
	return block[0] == 0 && bytes.Equal(block[1:], block[:len(block)-1])
}

// identify writes a new system identifier to where a cluster that was stopped has it:
// first in pg_control, which a checksum ends, and in the first page of each segment of
// the WAL.
func identify(data string) error {
	control := filepath.Join(data, "global", "pg_control")
	text, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	before := bytes.Clone(text[:8])
	// As initdb makes it: of the time, and of what differs.
	binary.NativeEndian.PutUint64(text, uint64(time.Now().Unix())<<32|uint64(rand.Uint32()))
	table, end := crc32.MakeTable(crc32.Castagnoli), 0
	for at := 64; at+4 <= 512; at += 4 { // it is in the first sector, elsewhere in each version
		if binary.NativeEndian.Uint32(text[at:]) == crc32.Update(crc32.Checksum(before, table), table, text[8:at]) {
			end = at
			break
		}
	}
	if end == 0 {
		return fmt.Errorf("%s: no checksum was found", control)
	}
	binary.NativeEndian.PutUint32(text[end:], crc32.Checksum(text[:end], table))
	if err := os.WriteFile(control, text, 0o600); err != nil { //nolint:gosec // a copy of our own
		return err
	}
	segments, err := filepath.Glob(filepath.Join(data, "pg_wal", "0*"))
	if err == nil && len(segments) == 0 {
		err = fmt.Errorf("%s: no segment of the WAL was found", data)
	}
	for _, segment := range segments {
		err = errors.Join(err, identifySegment(segment, before, text[:8]))
	}
	return err
}

// identifySegment replaces the identifier in the header of a segment's first page, which
// no checksum covers.
func identifySegment(segment string, before, now []byte) (err error) {
	const at = 24 // of XLogLongPageHeaderData.xlp_sysid
	f, err := os.OpenFile(segment, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	has := make([]byte, len(before))
	if _, err := f.ReadAt(has, at); err != nil {
		return err
	}
	if !bytes.Equal(has, before) {
		return fmt.Errorf("%s: its identifier is not the cluster's", segment)
	}
	_, err = f.WriteAt(now, at)
	return err
}
