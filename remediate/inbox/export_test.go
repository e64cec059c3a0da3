package inbox

import (
	"context"
	"time"
)

// ExpireOnce looks once.
func ExpireOnce(i *Inbox, u Unlisted) error { return i.expire(context.Background(), u, time.Time{}) }

// Mutes reads a configuration and tells what mutes an alert.
func Mutes(config string, have map[string]string, receiver string, now time.Time) (string, error) {
	r, err := parseRouting(config)
	if err != nil {
		return "", err
	}
	return r.mutes(have, receiver, now), nil
}
