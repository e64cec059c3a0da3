package config

import (
	"bytes"
	"fmt"
	"os"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// Password returns what reads the target's password when it is needed, or nil
// where none is configured. Its errors name the file or variable, never what is
// in it.
func (p Postgres) Password() func() (string, error) {
	return secret(p.PasswordFile, p.PasswordEnv)
}

// Password returns what reads the target's password when it is needed, or nil
// where none is configured. Its errors name the file or variable, never what is
// in it.
func (r Redis) Password() func() (string, error) {
	return secret(r.PasswordFile, r.PasswordEnv)
}

// Password returns what reads the store's password when it is needed, or nil where
// none is configured.
func (s Store) Password() func() (string, error) {
	return secret(s.PasswordFile, s.PasswordEnv)
}

// Password returns what reads the password of the user when it is needed, or nil where none is
// configured.
func (p Prometheus) Password() func() (string, error) {
	return secret(p.PasswordFile, p.PasswordEnv)
}

// Password returns what reads the password of the user when it is needed, or nil where none is
// configured.
func (a Alertmanager) Password() func() (string, error) {
	return secret(a.PasswordFile, a.PasswordEnv)
}

// Secret returns what reads the secret of Grafana's signatures when it is needed,
// or nil where none is configured.
func (g Grafana) Secret() func() (string, error) {
	return secret(g.SecretFile, g.SecretEnv)
}

// KeyID returns what reads the id of the bucket's key when it is needed, or nil
// where none is configured.
func (t Destination) KeyID() func() (string, error) {
	return secret(t.KeyIDFile, t.KeyIDEnv)
}

// Secret returns what reads the secret of the bucket's key when it is needed, or
// nil where none is configured.
func (t Destination) Secret() func() (string, error) {
	return secret(t.SecretFile, t.SecretEnv)
}

// URL returns what reads the URL when it is needed.
func (p Place) URL() func() (string, error) {
	return secret(p.URLFile, p.URLEnv)
}

// secretMost is more than any password or token has.
const secretMost = 64 << 10

// secret reads anew each time, so that a changed secret needs no restart. An
// empty one is an error: it would open what it should close.
func secret(file, env string) func() (string, error) {
	switch {
	case file != "":
		return func() (string, error) {
			text, _, err := files.Read(file, secretMost)
			if err != nil {
				return "", fmt.Errorf("secret: %w", err)
			}
			if err := files.Secret(file); err != nil { // it may have been replaced
				return "", fmt.Errorf("secret: %w", err)
			}
			text = bytes.TrimRight(text, "\r\n")
			if len(text) == 0 {
				return "", fmt.Errorf("secret: %s is empty", file)
			}
			return string(text), nil
		}
	case env != "":
		return func() (string, error) {
			value := os.Getenv(env)
			if value == "" {
				return "", fmt.Errorf("secret: the environment variable %s is not set", env)
			}
			return value, nil
		}
	default:
		return nil
	}
}
