package words

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// colouredWithin is how far into a line its coloured level is looked for, in bytes.
const colouredWithin = 80

// SignLevel returns the level of the sign with which a line begins, such as ✖ and ⚠, or of
// the word behind a sign where a bracket follows it: ● debug [payments].
func SignLevel(b []byte) Severity {
	if len(b) == 0 || b[0] < utf8.RuneSelf {
		return Unleveled
	}
	sign, n := utf8.DecodeRune(b)
	rest, ok := bytes.CutPrefix(bytes.TrimPrefix(b[n:], []byte("\ufe0f")), []byte{' '}) // drawn as a picture
	if !ok || unicode.IsLetter(sign) && sign != 'ℹ' {
		return Unleveled
	}
	word := lettersAt(rest)
	if bytes.HasPrefix(bytes.TrimLeft(rest[len(word):], " "), []byte{'['}) {
		if level := WordLevel(word); level != Unleveled {
			return level
		}
	}
	switch sign {
	case '✖', '✗', '✘', '×', '❌':
		return LevelError
	case '⚠', '‼':
		return LevelWarning
	case 'ℹ', '✔', '✓', '✅':
		return LevelInfo
	}
	return Unleveled
}

// ColouredLevel returns the level that a word near the begin of a line names, in any case,
// where the word has a colour of its own. Loggers colour the level; a sentence has no colours.
// Behind what may be a request the words are the client's.
func ColouredLevel(b []byte) Severity {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:min(len(b), max(at, colouredWithin))], escape)
		if i < 0 || bytes.IndexByte(b[:at+i], '"') >= 0 || bytes.Contains(b[:at+i], []byte(" /")) { // a request
			return Unleveled
		}
		at += i
		for n := sequence(b[at:]); n > 0; n = sequence(b[at:]) {
			at += n
		}
		if at < len(b) && b[at] == escape { // another sequence
			at++
			continue
		}
		word := lettersAt(b[at:])
		after := bytes.TrimLeft(b[at+len(word):], " ")
		n := sequence(after)
		if level := WordLevel(word); level != Unleveled && n > 0 {
			for m := sequence(after[n:]); m > 0; m = sequence(after[n:]) {
				n += m
			}
			if rest := after[n:]; len(rest) == 0 || rest[0] == ' ' || rest[0] == ':' || rest[0] == '\t' {
				return level
			}
		}
	}
}

// sequence returns the length of the sequence for a colour with which b begins.
func sequence(b []byte) int {
	if len(b) < 3 || b[0] != escape || b[1] != '[' {
		return 0
	}
	for i := 2; i < len(b); i++ {
		if b[i] == 'm' {
			return i + 1
		}
		if !IsDigit(b[i]) && b[i] != ';' {
			break
		}
	}
	return 0
}

func lettersAt(b []byte) []byte {
	i := 0
	for i < len(b) && IsLetter(b[i]) {
		i++
	}
	return b[:i]
}

// IsCode reports whether a word is the number that a vendor gives to a message, such as
// AH00526 or CWWKO0801E: at least two capitals, four or five digits of which the first is 0,
// and a letter at most. Ids of orders and jobs have no zero there for long.
func IsCode(word []byte) bool {
	letters := 0
	for letters < len(word) && 'A' <= word[letters] && word[letters] <= 'Z' {
		letters++
	}
	digits := DigitsAt(word[letters:])
	rest := word[letters+len(digits):]
	return letters >= 2 && (len(digits) == 4 || len(digits) == 5) && digits[0] == '0' &&
		(len(rest) == 0 || len(rest) == 1 && 'A' <= rest[0] && rest[0] <= 'Z')
}
