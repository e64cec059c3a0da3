package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"
)

// A Token is a bearer token with its role.
type Token struct {
	Name string
	Role Role
	Read func() (string, error) // where the token is kept
}

// tokenKept is how long a token is believed that was read: deliveries come by the thousand.
const tokenKept = time.Second

type keptToken struct {
	Token
	mu   sync.Mutex
	text string
	at   time.Time
}

// value reads the token, at most once in tokenKept; once more where again.
func (t *keptToken) value(now time.Time, again bool) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if age := now.Sub(t.at); !again && t.text != "" && age >= 0 && age < tokenKept {
		return t.text, nil
	}
	text, err := t.Read()
	if err != nil {
		t.text = ""
		return "", err
	}
	t.text, t.at = text, now
	return text, nil
}

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return b != "" && subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
