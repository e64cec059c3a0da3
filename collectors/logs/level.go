package logs

import (
	"bytes"
	"strconv"
	"strings"
)

// A severity is what a line says about itself.
type severity uint8

const (
	unleveled severity = iota // the line does not say
	levelDebug
	levelInfo
	levelWarning
	levelError
)

// A scale is how a logger counts levels. Loggers that write numbers do not agree: 40 is
// a warning of pino and an error of Python.
type scale uint8

const (
	scaleAny    scale = iota // syslog below 10, then pino and bunyan, then log4j
	scalePython              // levelno
	scaleOTel                // severityNumber
	scaleSyslog              // PRIORITY
)

// longestWord is the length of "informational".
const longestWord = 13

// levelOf returns the level that the value of a member names.
func levelOf(value []byte, s scale) severity {
	if len(value) > 0 && value[0] == escape {
		value = uncoloured(bytes.Clone(value))
	}
	if len(value) == 0 {
		return unleveled
	}
	if isDigit(value[0]) {
		return numbered(value, s)
	}
	if i := bytes.IndexAny(value, "+-"); i > 0 { // slog: ERROR+2
		if _, err := strconv.ParseUint(string(value[i+1:]), 10, 8); err != nil {
			return unleveled
		}
		value = value[:i]
	}
	if n := len(value) - 1; n > 0 && isDigit(value[n]) { // DEBUG5 of PostgreSQL, ERROR2 of OpenTelemetry
		value = value[:n]
	}
	if len(value) == 1 {
		return letterLevel(value[0])
	}
	if known := wordLevel(value); known != unleveled {
		return known
	}
	switch strings.ToLower(string(value[:min(len(value), longestWord)])) { // levels that are words of sentences too
	case "log", "http", "config": // PostgreSQL and NestJS, winston, java.util.logging
		return levelInfo
	}
	return unleveled
}

// wordLevel returns the level of a word that loggers have for it, in any case.
func wordLevel(word []byte) severity {
	if len(word) > longestWord {
		return unleveled
	}
	var lower [longestWord]byte
	for i, b := range word {
		if !isLetter(b) {
			return unleveled
		}
		lower[i] = b | 0x20
	}
	switch string(lower[:len(word)]) {
	case "info", "information", "informational", "inf", "notice", "success", "default":
		return levelInfo
	case "debug", "trace", "dbg", "dbug", "debu", "trc", "trce", "trac", "verbose", "verb", "vrb", "fine", "finer",
		"finest", "silly":
		return levelDebug
	case "warn", "warning", "wrn":
		return levelWarning
	case "error", "err", "erro", "eror", "fatal", "fata", "ftl", "critical", "crit", "panic", "pani", "pnc", "dpanic",
		"alert", "emerg", "emergency", "severe", "fail":
		return levelError
	}
	return unleveled
}

// letterLevel returns the level of one letter, as MongoDB, klog and Android write it.
func letterLevel(b byte) severity {
	switch b {
	case 'E', 'F', 'C', 'e', 'f', 'c':
		return levelError
	case 'W', 'w':
		return levelWarning
	case 'I', 'i', 'N', 'n':
		return levelInfo
	case 'D', 'd', 'T', 't', 'V', 'v':
		return levelDebug
	}
	return unleveled
}

// numbered returns the level of a number.
func numbered(value []byte, s scale) severity {
	if len(value) > 5 {
		return unleveled
	}
	n := 0
	for _, b := range value {
		if !isDigit(b) {
			return unleveled
		}
		n = n*10 + int(b-'0')
	}
	steps := [3]int{30, 40, 50} // the first of info, warning and error, as pino has them
	switch {
	case s == scaleOTel:
		steps = [3]int{9, 13, 17}
	case s == scalePython:
		steps = [3]int{20, 30, 40}
	case s == scaleSyslog, n < 8:
		return syslogLevel(n)
	case n < 10 || n >= 200 && n < 10000: // no logger writes these without a word beside them
		return unleveled
	case n >= 10000: // log4j
		steps = [3]int{20000, 30000, 40000}
	}
	switch {
	case n >= steps[2]:
		return levelError
	case n >= steps[1]:
		return levelWarning
	case n >= steps[0]:
		return levelInfo
	}
	return levelDebug
}

// syslogLevel returns the level of a number as syslog counts: less is worse.
func syslogLevel(n int) severity {
	switch {
	case n <= 3:
		return levelError
	case n == 4:
		return levelWarning
	case n <= 6:
		return levelInfo
	case n == 7:
		return levelDebug
	}
	return unleveled
}

const escape = 0x1b

// uncoloured removes, in place, the escape sequences with which loggers colour what they
// write to a terminal.
func uncoloured(b []byte) []byte {
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

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isHex(b byte) bool { return isDigit(b) || 'a' <= b|0x20 && b|0x20 <= 'f' }
