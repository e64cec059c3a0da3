package inbox

import (
	"context"
	"time"
)

// ExpireOnce looks once.
func ExpireOnce(i *Inbox, u Unlisted) error {
	return i.expire(context.Background(), u, i.now().Add(-u.After))
}

// Listen notes that sources can be heard and closes what is over, once.
func Listen(i *Inbox, u Unlisted) error { return i.listen(context.Background(), u) }

// Mutes reads a configuration and tells what mutes an alert.
func Mutes(config string, have map[string]string, receiver string, now time.Time) (string, error) {
	r, err := parseRouting(config)
	if err != nil {
		return "", err
	}
	return r.mutes(have, receiver, now), nil
}

// The conditions of lists.
const (
	IsOpen        = isOpen
	IsClosedSince = isClosedSince
	IsMost        = isMost
)

// IsOfServers is the condition of counts.
func IsOfServers(n int) string { return isOfServers(n) }
