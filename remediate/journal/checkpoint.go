package journal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// A Checkpoint is in the place of entries that retention has deleted. It is signed: entries cannot be
// deleted by writing one.
type Checkpoint struct {
	First   int64     `json:"first"` // of the deleted entries
	Last    int64     `json:"last"`
	Written time.Time `json:"written"`

	hash      string // of the last of them: the chain goes on from it
	signature string
}

// sign returns the signature of a checkpoint.
func (c Checkpoint) sign(key []byte) string {
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "checkpoint 1\n%d\n%d\n%s\n%d\n", c.First, c.Last, c.hash, store.Millis(c.Written))
	return hex.EncodeToString(h.Sum(nil))
}

// signed reports whether a checkpoint is one that we have written.
func (c Checkpoint) signed(key []byte) bool {
	return len(key) > 0 && hmac.Equal([]byte(c.signature), []byte(c.sign(key)))
}

// checkpointKey is the name of the key in the table secrets.
const checkpointKey = "journal checkpoints"

// makeKey returns the key of checkpoints, which the first of them makes.
func makeKey(tx *store.Tx) ([]byte, error) {
	made := make([]byte, sha256.Size)
	if _, err := rand.Read(made); err != nil {
		return nil, err
	}
	if _, err := tx.Exec("insert into secrets (name, value) values (?, ?) on conflict (name) do nothing", checkpointKey,
		hex.EncodeToString(made)); err != nil {
		return nil, err
	}
	var text string
	if err := tx.QueryRow("select value from secrets where name = ?", checkpointKey).Scan(&text); err != nil {
		return nil, err
	}
	return hex.DecodeString(text)
}

// replace writes the checkpoint of entries that were deleted one after the other. Those beside
// it become a part of it.
func replace(tx *store.Tx, key []byte, c Checkpoint) error {
	var first int64
	switch err := tx.QueryRow("select first from checkpoints where last = ?", c.First-1).Scan(&first); {
	case err == nil:
		if _, err := tx.Exec("delete from checkpoints where last = ?", c.First-1); err != nil {
			return err
		}
		c.First = first
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	var last int64
	var hash string
	switch err := tx.QueryRow("select last, hash from checkpoints where first = ?", c.Last+1).Scan(&last, &hash); {
	case err == nil:
		if _, err := tx.Exec("delete from checkpoints where last = ?", last); err != nil {
			return err
		}
		c.Last, c.hash = last, hash
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	_, err := tx.Exec("insert into checkpoints (last, first, hash, written, signature) values (?, ?, ?, ?, ?)", c.Last,
		c.First, c.hash, store.Millis(c.Written), c.sign(key))
	return err
}
