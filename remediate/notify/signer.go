package notify

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

var (
	// ErrExpired says that a link was ours and is over.
	ErrExpired = errors.New("the link has expired")

	// ErrForeign says that a link is not one that we signed, or not whole.
	ErrForeign = errors.New("the link was not signed by this upkeep, or a part of it is missing")
)

const (
	secretName = "approval links" // in the table secrets
	keyLength  = 32

	tokenVersion = 1
	tokenHead    = 1 + 8 + 8 // version, run, until; the plan follows, and the signature
	tokenLimit   = 512       // letters; the hash of a plan is 16
)

// A Signer signs the links by which people approve of a plan. The holder of the
// link may answer: it is for one plan of one run, and for a while.
type Signer struct {
	store *store.Store

	mu   sync.Mutex
	kept []byte // the key; nil until it was read
}

// keyTimeout is how long the key is waited for where the store could not be had before.
const keyTimeout = 5 * time.Second

// NewSigner returns the Signer of a store, whose key it makes once. Replicas on
// one store share it. Where the store cannot be had, the key is read when it is needed.
func NewSigner(ctx context.Context, s *store.Store) (*Signer, error) {
	signer := &Signer{store: s}
	if _, err := signer.key(ctx); err != nil && !store.Away(err) {
		return nil, err
	}
	return signer, nil
}

func (s *Signer) key(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept != nil {
		return s.kept, nil
	}
	made := make([]byte, keyLength)
	if _, err := rand.Read(made); err != nil {
		return nil, fmt.Errorf("key of approval links: %w", err)
	}
	var text string
	err := s.store.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("insert into secrets (name, value) values (?, ?) on conflict (name) do nothing",
			secretName, hex.EncodeToString(made)); err != nil {
			return err
		}
		return tx.QueryRow("select value from secrets where name = ?", secretName).Scan(&text)
	})
	if err != nil {
		return nil, fmt.Errorf("key of approval links: %w", err)
	}
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != keyLength {
		// the cause would repeat it
		return nil, errors.New("key of approval links: what the store has is no key; delete it from the table " +
			"secrets, and links that were sent are void")
	}
	s.kept = key
	return key, nil
}

// Sign returns a token for a plan of a run, which holds until a moment. It can
// be used in a URL as it is. It is empty where the key could not be read.
func (s *Signer) Sign(run int64, plan string, until time.Time) string {
	ctx, cancel := context.WithTimeout(context.Background(), keyTimeout)
	defer cancel()
	key, err := s.key(ctx)
	if err != nil {
		return ""
	}
	head := make([]byte, 0, tokenHead+len(plan)+sha256.Size)
	head = append(head, tokenVersion)
	head = binary.BigEndian.AppendUint64(head, uint64(run))
	head = binary.BigEndian.AppendUint64(head, uint64(until.Unix()))
	head = append(head, plan...)
	return base64.RawURLEncoding.EncodeToString(append(head, mac(key, head)...))
}

// Verify returns what a token is for, or ErrExpired or ErrForeign, or why the key could
// not be read.
func (s *Signer) Verify(token string, now time.Time) (run int64, plan string, until time.Time, err error) {
	if len(token) > tokenLimit || strings.ContainsAny(token, "\r\n") { // which the decoder would leave out
		return 0, "", time.Time{}, ErrForeign
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(text) < tokenHead+sha256.Size {
		return 0, "", time.Time{}, ErrForeign
	}
	ctx, cancel := context.WithTimeout(context.Background(), keyTimeout)
	defer cancel()
	key, err := s.key(ctx)
	if err != nil {
		return 0, "", time.Time{}, err
	}
	head, signed := text[:len(text)-sha256.Size], text[len(text)-sha256.Size:]
	if !hmac.Equal(signed, mac(key, head)) || head[0] != tokenVersion {
		return 0, "", time.Time{}, ErrForeign
	}
	run = int64(binary.BigEndian.Uint64(head[1:]))
	until = time.Unix(int64(binary.BigEndian.Uint64(head[9:])), 0).UTC()
	plan = string(head[tokenHead:])
	if !now.Before(until) {
		return run, plan, until, ErrExpired
	}
	return run, plan, until, nil
}

// Key returns a key of the store for another purpose, which tells nothing of the signer's own.
func (s *Signer) Key(purpose string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keyTimeout)
	defer cancel()
	key, err := s.key(ctx)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte("upkeep key\x00" + purpose))
	return h.Sum(nil), nil
}

// mac signs a token's parts. The name keeps the signature from being valid for
// anything else that the key may once be used for.
func mac(key, head []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("upkeep approval\x00"))
	h.Write(head)
	return h.Sum(nil)
}
