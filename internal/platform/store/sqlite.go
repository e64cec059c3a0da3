package store

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// openFolder opens the file in a folder. A second process on the same folder is
// refused: two owners would do the same work twice.
func (s *Store) openFolder(dir string) error {
	dir, err := filepath.Abs(dir) // in a file URL a relative path would be the name of a host
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.name, s.opening.dir = dir, dir
	return s.openSQLite(dsn(filepath.Join(dir, database)))
}

func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("store: %s is in use by another upkeep; stop that one, or give this one a data_dir of "+
			"its own", filepath.Dir(path))
	}
	return f, nil
}

// private makes the database readable by its owner only, whatever the umask is. SQLite gives
// its other files the mode of the database.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), files.Restrict(path, path+"-wal", path+"-shm", path+"-journal"))
}

// logKept is how large SQLite's log stays after a checkpoint: a burst makes it larger.
const logKept = 4 << 20

// dsn asks for a commit that survives a power cut (synchronous=FULL) and for
// readers that never wait for the writer (WAL). A file that is made gives the room of what is
// deleted back in small parts.
func dsn(path string) string {
	q := url.Values{"_pragma": {"auto_vacuum(INCREMENTAL)", "journal_mode(WAL)", "synchronous(FULL)",
		"busy_timeout(5000)", "foreign_keys(ON)", fmt.Sprintf("journal_size_limit(%d)", logKept),
		fmt.Sprintf("wal_autocheckpoint(%d)", logPages)}}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// openMemory opens a database that is gone when it is closed. It is its only
// connection.
func (s *Store) openMemory() error {
	if err := s.openSQLite("file::memory:?_pragma=foreign_keys(ON)"); err != nil {
		return err
	}
	s.name, s.dialect.memory = "in memory", true
	s.db.SetMaxOpenConns(1)
	return nil
}

func (s *Store) openSQLite(dsn string) error {
	s.dialect = dialect{
		grouped: 512,
		begin:   []string{"begin immediate"},
		schema:  func(text string) string { return text },
		version: func(tx *Tx) (version int, err error) {
			err = tx.QueryRow("pragma user_version").Scan(&version)
			return version, err
		},
		setVersion: func(tx *Tx, version int) error {
			_, err := tx.Exec(fmt.Sprintf("pragma user_version = %d", version))
			return err
		},
		aborted: func(*sql.Conn) bool { return false },
		lost:    func(error) bool { return false },
		unknown: func(error) bool { return false },
		away:    sqliteAway,
	}
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.db = sql.OpenDB(keeper{c})
	s.db.SetMaxIdleConns(connections)
	return nil
}

// database is the SQLite file in its folder.
const database = "upkeep.db"
