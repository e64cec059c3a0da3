package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// A snapshotFile is written whole: after a crash there is the old or the new.
type snapshotFile struct {
	path     string
	snapshot func(io.Writer) (int64, error)
	mu       sync.Mutex
}

// write returns when the newest state is on disk.
func (f *snapshotFile) write() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	part, err := os.Create(f.path + ".part")
	if err != nil {
		return err
	}
	_, err = f.snapshot(part)
	err = errors.Join(err, part.Sync(), part.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	if err := os.Rename(part.Name(), f.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// durable holds the answer to whatever may have changed a silence until the
// silences are on disk: Alertmanager itself writes them every 15 minutes.
func durable(stock http.Handler, file *snapshotFile) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			stock.ServeHTTP(w, r)
			return
		}
		held := &heldResponse{header: make(http.Header), status: http.StatusOK}
		stock.ServeHTTP(held, r)
		if err := file.write(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		maps.Copy(w.Header(), held.header)
		w.WriteHeader(held.status)
		_, _ = w.Write(held.body.Bytes()) // the client has closed the connection
	})
}

// A heldResponse is an answer that is not given yet.
type heldResponse struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (h *heldResponse) Header() http.Header { return h.header }

// WriteHeader implements http.ResponseWriter.
func (h *heldResponse) WriteHeader(status int) { h.status = status }

// Write implements http.ResponseWriter.
func (h *heldResponse) Write(text []byte) (int, error) { return h.body.Write(text) }

func answerText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(text) // the client may have hung up
}
