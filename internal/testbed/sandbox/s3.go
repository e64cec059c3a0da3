package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// An S3 is a running private S3-compatible store that verifies every signature.
type S3 struct {
	Endpoint   string // http://127.0.0.1:port
	Bucket     string // one that is there
	ID, Secret string // of the key that may do everything
	Dir        string // its objects are the files below Dir/objects/Bucket
	Region     string

	child *child
}

// StartS3 starts a store from the program at bin, with its objects in a folder.
func StartS3(ctx context.Context, bin, dir string) (*S3, error) {
	s := &S3{Bucket: "archive", ID: "upkeep-test", Secret: rand.Text(), Dir: dir, Region: "eu-test-1"}
	for _, d := range []string{
		dir, filepath.Join(dir, "objects"), filepath.Join(dir, "objects", s.Bucket), filepath.Join(dir, "about"),
	} {
		if err := folder(d); err != nil {
			return nil, fmt.Errorf("sandbox: %w", err)
		}
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	s.Endpoint = "http://" + address
	logFile := filepath.Join(dir, "s3.log")
	logTo, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = logTo.Close() }() // the child has its own
	s.child, err = start(bin, dir, nil, logTo, "--access", s.ID, "--secret", s.Secret, "--region", s.Region,
		"--port", address, "--quiet", "--keep-alive", "posix",
		"--sidecar", filepath.Join(dir, "about"), filepath.Join(dir, "objects"))
	if err != nil {
		return nil, fmt.Errorf("versitygw: %w", err)
	}
	return s, s.child.wait(ctx, logFile, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusForbidden {
			err = fmt.Errorf("status %d for a request without a signature, want 403", answer.StatusCode)
		}
		return errors.Join(err, answer.Body.Close())
	})
}

// Stop ends the store and waits for it.
func (s *S3) Stop() error { return s.child.end(syscall.SIGINT) }
