// Package words reads the words of log lines: the levels that they name, and what is folded out of a text to get the
// template that all texts of one cause have, and the signs and colours of levels. It knows no form of a whole line.
package words

import (
	"bytes"
	"strconv"
	"strings"
)

// A Severity is what a line says about itself.
type Severity uint8

// The severities, the worst last.
const (
	Unleveled Severity = iota // the line does not say
	LevelDebug
	LevelInfo
	LevelWarning
	LevelError
)

// A Scale is how a logger counts levels. Loggers that write numbers do not agree: 40 is
// a warning of pino and an error of Python.
type Scale uint8

// The scales.
const (
	ScaleAny    Scale = iota // syslog below 10, then pino and bunyan, then log4j
	ScalePython              // levelno
	ScaleOTel                // severityNumber
	ScaleSyslog              // PRIORITY
)

// longestWord is the length of "informational".
const longestWord = 13

// LevelOf returns the level that the value of a member names.
func LevelOf(value []byte, s Scale) Severity {
	if len(value) > 0 && value[0] == escape {
		value = Uncoloured(bytes.Clone(value))
	}
	if len(value) == 0 {
		return Unleveled
	}
	if IsDigit(value[0]) {
		return numbered(value, s)
	}
	if i := bytes.IndexAny(value, "+-"); i > 0 { // slog: ERROR+2
		if _, err := strconv.ParseUint(string(value[i+1:]), 10, 8); err != nil {
			return Unleveled
		}
		value = value[:i]
	}
	if n := len(value) - 1; n > 0 && IsDigit(value[n]) { // DEBUG5 of PostgreSQL, ERROR2 of OpenTelemetry
		value = value[:n]
	}
	if len(value) == 1 {
		return LetterLevel(value[0])
	}
	if known := WordLevel(value); known != Unleveled {
		return known
	}
	switch strings.ToLower(string(value[:min(len(value), longestWord)])) { // levels that are words of sentences too
	case "log", "http", "config": // PostgreSQL and NestJS, winston, java.util.logging
		return LevelInfo
	case "slow": // go-zero
		return LevelWarning
	}
	return Unleveled
}

// WordLevel returns the level of a word that loggers have for it, in any case.
func WordLevel(word []byte) Severity {
	if len(word) > longestWord {
		return Unleveled
	}
	var lower [longestWord]byte
	for i, b := range word {
		if !IsLetter(b) {
			return Unleveled
		}
		lower[i] = b | 0x20
	}
	switch string(lower[:len(word)]) {
	case "info", "information", "informational", "inf", "notice", "success", "default":
		return LevelInfo
	case "debug", "trace", "dbg", "dbug", "debu", "trc", "trce", "trac", "verbose", "verb", "vrb", "fine", "finer",
		"finest", "silly":
		return LevelDebug
	case "warn", "warning", "wrn":
		return LevelWarning
	case "error", "err", "erro", "eror", "fatal", "fata", "ftl", "critical", "crit", "crt", "panic", "pani", "pnc",
		"dpanic", "alert", "emerg", "emergency", "severe", "fail":
		return LevelError
	}
	return Unleveled
}

// LetterLevel returns the level of one letter, as MongoDB, klog and Android write it.
func LetterLevel(b byte) Severity {
	switch b {
	case 'E', 'F', 'C', 'e', 'f', 'c':
		return LevelError
	case 'W', 'w':
		return LevelWarning
	case 'I', 'i', 'N', 'n':
		return LevelInfo
	case 'D', 'd', 'T', 't', 'V', 'v':
		return LevelDebug
	}
	return Unleveled
}

// numbered returns the level of a number.
func numbered(value []byte, s Scale) Severity {
	if len(value) > 5 {
		return Unleveled
	}
	n := 0
	for _, b := range value {
		if !IsDigit(b) {
			return Unleveled
		}
		n = n*10 + int(b-'0')
	}
	steps := [3]int{30, 40, 50} // the first of info, warning and error, as pino has them
	switch {
	case s == ScaleOTel:
		steps = [3]int{9, 13, 17}
	case s == ScalePython:
		steps = [3]int{20, 30, 40}
	case s == ScaleSyslog, n < 8:
		return SyslogLevel(n)
	case n < 10 || n >= 200 && n < 10000: // no logger writes these without a word beside them
		return Unleveled
	case n >= 10000: // log4j
		steps = [3]int{20000, 30000, 40000}
	}
	switch {
	case n >= steps[2]:
		return LevelError
	case n >= steps[1]:
		return LevelWarning
	case n >= steps[0]:
		return LevelInfo
	}
	return LevelDebug
}

// SyslogLevel returns the level of a number as syslog counts: less is worse.
func SyslogLevel(n int) Severity {
	switch {
	case n <= 3:
		return LevelError
	case n == 4:
		return LevelWarning
	case n <= 6:
		return LevelInfo
	case n == 7:
		return LevelDebug
	}
	return Unleveled
}

const escape = 0x1b

// Uncoloured removes, in place, the escape sequences with which loggers colour what they
// write to a terminal.
func Uncoloured(b []byte) []byte {
	i := bytes.IndexByte(b, escape)
	if i < 0 {
		return b
	}
	out := b[:i]
	for i < len(b) {
		if b[i] != escape || i+1 >= len(b) || b[i+1] != '[' {
			out = append(out, b[i])
			i++
			continue
		}
		for i += 2; i < len(b) && (b[i] < '@' || b[i] > '~'); {
			i++
		}
		i++
	}
	return out
}

// IsLetter reports whether b is a letter of ASCII.
func IsLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

// IsDigit reports whether b is a digit of ASCII.
func IsDigit(b byte) bool { return '0' <= b && b <= '9' }

// DigitsAt returns the digits with which b begins.
func DigitsAt(b []byte) []byte {
	i := 0
	for i < len(b) && IsDigit(b[i]) {
		i++
	}
	return b[:i]
}

func isHex(b byte) bool { return IsDigit(b) || 'a' <= b|0x20 && b|0x20 <= 'f' }

// IsCapitals reports whether a word has capitals alone.
func IsCapitals(word []byte) bool {
	for _, c := range word {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}
