package logs

import "bytes"

// errorLevel reports whether a level is that of an error: one of the words that
// loggers have for it, or a number from 50 on, as pino and bunyan count.
func errorLevel(level []byte) bool {
	if len(level) == 0 || len(level) > 9 {
		return false
	}
	switch b := level[0]; {
	case '5' <= b && b <= '9':
		return len(level) == 2 && isDigit(level[1])
	case !isLetter(b):
		return false
	}
	var lower [9]byte
	for i, b := range level {
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		lower[i] = b
	}
	switch string(lower[:len(level)]) {
	case "error", "err", "fatal", "critical", "crit", "panic", "alert", "emerg", "emergency", "severe":
		return true
	}
	return false
}

// levelWithin is the maximum offset of the level in a line that is not JSON.
const levelWithin = 120

// plainError reports whether a line that is no JSON begins like that of an error:
// with a word for it in capitals, in brackets, or after level=.
func plainError(line []byte) bool {
	line = line[:min(len(line), levelWithin)]
	for i := 0; i < len(line); {
		if !isLetter(line[i]) {
			i++
			continue
		}
		from := i
		for i < len(line) && isLetter(line[i]) {
			i++
		}
		word := line[from:i]
		if !errorLevel(word) {
			continue
		}
		capitals := !bytes.ContainsFunc(word, func(r rune) bool { return r >= 'a' })
		bracket := from > 0 && line[from-1] == '[' && i < len(line) && line[i] == ']'
		assigned := bytes.HasSuffix(line[:from], []byte("level=")) || bytes.HasSuffix(line[:from], []byte(`level="`)) ||
			bytes.HasSuffix(line[:from], []byte("lvl="))
		if capitals || bracket || assigned {
			return true
		}
	}
	return false
}

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isHex(b byte) bool { return isDigit(b) || 'a' <= b|0x20 && b|0x20 <= 'f' }
