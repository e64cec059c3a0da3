package webhook

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// staleness is how far the clock of a signed delivery may be off ours, either way.
const staleness = 5 * time.Minute

// A Signature says how Grafana signs its deliveries: with the hexadecimal
// HMAC-SHA256 of the body or, where the contact point names a header for the
// time, of the time in Unix seconds, a colon and the body.
type Signature struct {
	// read at each delivery, so that a new file counts at once; nil: deliveries need no signature
	Secret    func() (string, error)
	Header    string // X-Grafana-Alerting-Signature where empty
	Timestamp string // X-Grafana-Alerting-Timestamp where empty
}

func (s Signature) header() string { return cmp.Or(s.Header, "X-Grafana-Alerting-Signature") }

func (s Signature) timestamp() string { return cmp.Or(s.Timestamp, "X-Grafana-Alerting-Timestamp") }

// claim looks at the headers, before anything else of the delivery is read.
func (s Signature) claim(r *http.Request, now time.Time) (status int, err error) {
	if r.Header.Get(s.header()) == "" {
		return http.StatusUnauthorized, fmt.Errorf("missing signature in %s: set the HMAC secret of the contact point",
			s.header())
	}
	said := r.Header.Get(s.timestamp())
	if said == "" && s.Timestamp != "" {
		return http.StatusUnauthorized, fmt.Errorf("missing signed time in %s, which grafana.timestamp_header "+
			"demands: an old delivery could be sent again", s.Timestamp)
	}
	if said == "" {
		return s.formed(r)
	}
	seconds, err := strconv.ParseInt(said, 10, 64)
	if err != nil {
		return http.StatusUnauthorized, fmt.Errorf("%s: want a time in Unix seconds", s.timestamp())
	}
	if off := now.Sub(time.Unix(seconds, 0)); off.Abs() > staleness {
		return http.StatusUnauthorized,
			fmt.Errorf("the delivery was signed %s from now by the clock here, and %s is allowed",
				off.Abs().Round(time.Second), staleness)
	}
	return s.formed(r)
}

// formed reports whether a signature has the form of one.
func (s Signature) formed(r *http.Request) (status int, err error) {
	if got, err := hex.DecodeString(r.Header.Get(s.header())); err != nil || len(got) != sha256.Size {
		return http.StatusUnauthorized, s.wrong()
	}
	return 0, nil
}

func (s Signature) wrong() error {
	return fmt.Errorf("the signature in %s is not that of the body: is the secret the same on both sides?", s.header())
}

// verify looks at the body.
func (s Signature) verify(r *http.Request, body []byte) (status int, err error) {
	secret, err := s.Secret()
	if err == nil && secret == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return http.StatusInternalServerError, fmt.Errorf("the secret of the signature: %w", err)
	}
	h := hmac.New(sha256.New, []byte(secret))
	if said := r.Header.Get(s.timestamp()); said != "" {
		h.Write([]byte(said))
		h.Write([]byte{':'})
	}
	h.Write(body)
	got, err := hex.DecodeString(r.Header.Get(s.header()))
	if err != nil || !hmac.Equal(got, h.Sum(nil)) {
		return http.StatusUnauthorized, s.wrong()
	}
	return 0, nil
}
