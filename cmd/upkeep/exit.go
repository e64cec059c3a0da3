package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/product/usage"
)

// An exit is the status that the process ends with: a script sees by it what happened.
type exit int

// The statuses. They do not change: what is new gets a new number.
const (
	exitDone exit = iota
	exitNo
	exitUsage
	exitAway
	exitDenied
	exitRefused
	exitFault

	exitInterrupted exit = 130
)

// exits lists them with what they mean.
func exits() []struct {
	status  exit
	meaning string
} {
	return []struct {
		status  exit
		meaning string
	}{
		{exitDone, "done"},
		{exitNo, "the answer is no: a run did not help, a plan would not run now, nothing matches, errors were found"},
		{exitUsage, "wrong usage: command, flag, argument, or a configuration that cannot be read"},
		{exitAway, "no upkeep can be reached, or it cannot answer at the moment; try again"},
		{exitDenied, "not logged in, or the role does not allow it"},
		{exitRefused, "refused: by a guard or the action, or what was asked for is unknown or not in the state for it"},
		{exitFault, "something else failed: a target, the store, a file"},
		{exitInterrupted, "interrupted with Ctrl-C or SIGTERM"},
	}
}

// exitHelp writes the statuses for the help.
func exitHelp() string {
	var b strings.Builder
	for _, s := range exits() {
		fmt.Fprintf(&b, "  %3d  %s\n", s.status, s.meaning)
	}
	return strings.TrimRight(b.String(), "\n")
}

// An exitError is an error with the status that the process ends with.
type exitError struct {
	status exit
	err    error // nil: it was said already
}

// Error implements error.
func (f *exitError) Error() string {
	if f.err == nil {
		return "said already"
	}
	return f.err.Error()
}

// Unwrap returns the cause.
func (f *exitError) Unwrap() error { return f.err }

// fail gives an error its status.
func fail(s exit, err error) error { return &exitError{s, err} }

// quiet ends the process with a status without a word: it was said already.
func quiet(s exit) error { return &exitError{status: s} }

// outcome returns the status of what a command returns, and what is still to be said.
func outcome(err error) (s exit, text string) {
	if err == nil {
		return exitDone, ""
	}
	f, ok := errors.AsType[*exitError](err)
	switch {
	case ok && f.err == nil:
		return f.status, ""
	case ok:
		return f.status, err.Error()
	case errors.Is(err, context.Canceled):
		return exitInterrupted, "interrupted"
	}
	if _, ok := errors.AsType[*usage.Error](err); ok {
		return exitUsage, err.Error()
	}
	return exitFault, err.Error()
}

// exitOf returns the status of what upkeep has answered.
func exitOf(code int) exit {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	case http.StatusBadRequest:
		return exitUsage
	case http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity:
		return exitRefused
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout:
		return exitAway
	default:
		return exitFault
	}
}
