package config

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ai-micro-service/upkeep/internal/platform/child"
	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// Password returns what reads the target's password when it is needed, or nil
// where none is configured. Its errors name the file, variable or program, never what is
// in it or what it writes.
func (p Postgres) Password() func() (string, error) {
	return login(p.PasswordFile, p.PasswordEnv, p.PasswordCommand)
}

// Password returns what reads the target's password when it is needed, or nil
// where none is configured. Its errors name the file, variable or program, never what is
// in it or what it writes.
func (r Redis) Password() func() (string, error) {
	return login(r.PasswordFile, r.PasswordEnv, r.PasswordCommand)
}

// Password returns what reads the Sentinel's password when it is needed, or nil where none
// is configured.
func (s Sentinel) Password() func() (string, error) {
	return login(s.PasswordFile, s.PasswordEnv, s.PasswordCommand)
}

// Password returns what reads the store's password when it is needed, or nil where
// none is configured.
func (s Store) Password() func() (string, error) {
	return login(s.PasswordFile, s.PasswordEnv, s.PasswordCommand)
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

// A SecretError says that a secret could not be read: no server was asked to accept it.
type SecretError struct{ Err error }

// Error names the file, variable or program.
func (e *SecretError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *SecretError) Unwrap() error { return e.Err }

// login is a secret that a program may write.
func login(file, env string, command []string) func() (string, error) {
	if len(command) > 0 {
		return written(command)
	}
	return secret(file, env)
}

// commandTime is how long a program may take that writes a secret: one that asks a server elsewhere takes a
// second, and who connects waits for it.
const commandTime = 10 * time.Second

// written returns what runs a program that writes a secret. Connections that are made at once share one run.
// What the program writes is in no error, nor is its complaint: there may be a part of the secret in it.
func written(command []string) func() (string, error) {
	var once singleflight.Group
	run := func() (any, error) {
		path := command[0]
		if err := files.Ours(path); err != nil { // it may have been replaced
			return "", err
		}
		ctx, cancel := context.WithTimeoutCause(context.Background(), commandTime,
			fmt.Errorf("it has not ended within %s", commandTime))
		defer cancel()
		r, err := child.Run(ctx, child.Program{Path: path, Args: command[1:]})
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		text := bytes.TrimRight(r.Out, "\r\n")
		switch {
		case len(text) == 0:
			return "", fmt.Errorf("%s has written nothing", path)
		case len(text) > secretMost:
			return "", fmt.Errorf("%s has written %d bytes, more than any password has", path, len(text))
		case bytes.ContainsAny(text, "\x00\n"):
			return "", fmt.Errorf("%s has written more than one line; a password alone was expected", path)
		}
		return string(text), nil
	}
	return func() (string, error) {
		text, err, _ := once.Do("", run)
		if err != nil {
			return "", &SecretError{fmt.Errorf("password_command: %w", err)}
		}
		return text.(string), nil
	}
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
				return "", &SecretError{fmt.Errorf("secret: %w", err)}
			}
			if err := files.Secret(file); err != nil { // it may have been replaced
				return "", &SecretError{fmt.Errorf("secret: %w", err)}
			}
			text = bytes.TrimRight(text, "\r\n")
			if len(text) == 0 {
				return "", &SecretError{fmt.Errorf("secret: %s is empty", file)}
			}
			return string(text), nil
		}
	case env != "":
		return func() (string, error) {
			value := os.Getenv(env)
			if value == "" {
				return "", &SecretError{fmt.Errorf("secret: the environment variable %s is not set", env)}
			}
			return value, nil
		}
	default:
		return nil
	}
}
