package words

import (
	"bytes"
	"unicode/utf8"
)

// How long what is kept may be, in bytes.
const (
	TemplateLength = 160
	PathLength     = 120 // of an endpoint
	shortest       = 8   // letters and digits that look like hexadecimal are an id from here on
)

// Fold appends the template of a message: what stays the same when ids, numbers
// and addresses differ.
func Fold(into, message []byte) []byte {
	if bytes.IndexByte(message, escape) >= 0 {
		message = Uncoloured(bytes.Clone(message))
	}
	for i := 0; i < len(message) && len(into) <= TemplateLength; {
		if b := message[i]; !IsWord(b) {
			if b == '\n' && stackFollows(message[i+1:]) {
				break
			}
			if b < ' ' {
				b = ' '
			}
			if b != ' ' || len(into) > 0 && into[len(into)-1] != ' ' {
				into = append(into, b)
			}
			i++
			continue
		}
		from := i
		for i < len(message) && (IsWord(message[i]) || joins(message[i:])) {
			i++
		}
		into = foldWord(into, message[from:i])
	}
	return Clean(into)
}

// Clean returns text that may be a label's value: of bounded length and valid. What is
// not is changed in place.
func Clean(into []byte) []byte {
	for i, b := range into {
		if b < ' ' {
			into[i] = ' '
		}
	}
	if len(into) > TemplateLength {
		end := TemplateLength
		for end > TemplateLength-utf8.UTFMax && !utf8.RuneStart(into[end]) {
			end-- // no letter is cut
		}
		into = into[:end]
	}
	if !utf8.Valid(into) { // a label value takes no other, and two of them would be one
		into = bytes.ToValidUTF8(into, []byte{'?'})
	}
	return bytes.TrimRight(into, " ")
}

// IsWord reports whether b may be in a word: a letter, a digit or _.
func IsWord(b byte) bool { return IsLetter(b) || IsDigit(b) || b == '_' }

// isJoint are the signs that join the parts of an id, a number or an address.
func isJoint(b byte) bool { return b == '-' || b == '.' || b == ':' || b == '@' || b == '+' }

// joins reports whether what follows goes on with the same word.
func joins(b []byte) bool {
	return len(b) > 1 && isJoint(b[0]) && (IsWord(b[1]) || b[0] == ':' && b[1] == ':')
}

// foldWord appends the placeholder of a word.
func foldWord(into, word []byte) []byte {
	if !bytes.ContainsFunc(word, func(r rune) bool { return '0' <= r && r <= '9' }) {
		if atHost(word) {
			return append(into, "<address>"...)
		}
		if bytes.Count(word, []byte(":")) >= 2 && !bytes.ContainsFunc(word,
			func(r rune) bool { return r != ':' && (r > 'f' || !isHex(byte(r))) }) {
			return append(into, "<address>"...)
		}
		return append(into, word...)
	}
	switch {
	case isUUID(word):
		return append(into, "<uuid>"...)
	case isClockWithParts(word): // 18:33:15:123
		return append(into, "<time>:<n>"...)
	case atHost(word), isAddress(word):
		return append(into, "<address>"...)
	case isTime(word):
		return append(into, "<time>"...)
	case len(word) > 2 && word[0] == '0' && word[1] == 'x' && hexNumber(word[2:]):
		return append(into, "<hex>"...)
	case isNumber(word), Number(word): // 1.5e+09 too
		return append(into, "<n>"...)
	}
	if i := bytes.IndexByte(word, ':'); i > 0 && !IsDigit(word[0]) && isAddress(word[i+1:]) {
		return append(append(into, word[:i+1]...), "<address>"...)
	}
	// A name with numbers in it, or an id: part by part.
	for i := 0; i < len(word); {
		if isJoint(word[i]) {
			into = append(into, word[i])
			i++
			continue
		}
		from := i
		for i < len(word) && !isJoint(word[i]) {
			i++
		}
		into = foldPart(into, word[from:i])
	}
	return into
}

// foldPart appends the placeholder of letters and digits without a sign between.
func foldPart(into, part []byte) []byte {
	digits, hexadecimal := 0, true
	for _, b := range part {
		if IsDigit(b) {
			digits++
		}
		hexadecimal = hexadecimal && isHex(b)
	}
	switch {
	case digits == 0:
		return append(into, part...)
	case hexadecimal && len(part) >= shortest && digits < len(part):
		return append(into, "<hex>"...)
	case len(part) >= 12 && digits*4 >= len(part) && digits < len(part):
		return append(into, "<id>"...)
	}
	for i := 0; i < len(part); {
		if !IsDigit(part[i]) {
			into = append(into, part[i])
			i++
			continue
		}
		for i < len(part) && IsDigit(part[i]) {
			i++
		}
		into = append(into, "<n>"...)
	}
	return into
}

// stackFollows reports whether the lines behind the first one of a message are a trace.
func stackFollows(b []byte) bool {
	for _, begin := range []string{"goroutine ", "Traceback (most", "\tat ", "    at ", "   at "} {
		if bytes.HasPrefix(b, []byte(begin)) {
			return true
		}
	}
	return false
}

// atHost reports whether a word is an address such as joe@example.net. One without a dot
// behind the sign is a user at a database, or a node.
func atHost(w []byte) bool {
	at := bytes.IndexByte(w, '@')
	return at > 0 && bytes.IndexByte(w[at:], '.') > 0
}

func hexNumber(b []byte) bool {
	return len(b) < 10 && !bytes.ContainsFunc(b,
		func(r rune) bool { return r > 'f' || !isHex(byte(r)) })
}

func isClockWithParts(w []byte) bool {
	i := bytes.LastIndexByte(w, ':')
	return (i == 7 || i == 8) && bytes.Count(w, []byte{':'}) == 3 && len(DigitsAt(w[i+1:])) == len(w)-i-1 &&
		isTime(w[:i])
}

func isUUID(w []byte) bool {
	if len(w) != 36 {
		return false
	}
	for i, b := range w {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if b != '-' {
				return false
			}
		} else if !isHex(b) {
			return false
		}
	}
	return true
}

// isAddress recognizes 10.0.0.1, 10.0.0.1:80 and what has the colons of IPv6.
func isAddress(w []byte) bool {
	dots, colons := bytes.Count(w, []byte(".")), bytes.Count(w, []byte(":"))
	letters := bytes.ContainsFunc(w, func(r rune) bool { return r != '.' && r != ':' && (r < '0' || r > '9') })
	if dots == 3 && colons <= 1 && !letters {
		return true
	}
	return (colons >= 3 || bytes.Contains(w, []byte("::"))) && dots == 0 &&
		!bytes.ContainsFunc(w, func(r rune) bool { return r != ':' && (r > 'f' || !isHex(byte(r))) })
}

// isTime recognizes 2026-01-02, 03:04:05, 3:04:05 and 2026-01-02T03:04:05.678Z.
func isTime(w []byte) bool {
	if w = bytes.TrimSuffix(w, []byte("Z")); len(w) < 7 || !IsDigit(w[0]) {
		return false
	}
	signs := 0
	for _, b := range w {
		switch {
		case b == '-' || b == ':':
			signs++
		case !IsDigit(b) && b != 'T' && b != '.' && b != '+':
			return false
		}
	}
	return signs >= 2 && (w[2] == ':' && len(w) > 7 || w[1] == ':' && w[4] == ':' ||
		len(w) >= 10 && w[4] == '-' && w[7] == '-')
}

// isNumber recognizes 42, 4.2, 1-2 and 1.2.3, with a unit of a few letters or not.
func isNumber(w []byte) bool {
	i := 0
	for i < len(w) && (IsDigit(w[i]) || isJoint(w[i])) {
		i++
	}
	return i > 0 && len(w)-i <= 2 && IsDigit(w[0]) && !bytes.ContainsFunc(w[i:],
		func(r rune) bool { return !IsLetter(byte(r)) })
}

// FoldPath appends the template of a path: without its query, and with :id in the
// place of what names one of many.
func FoldPath(into, path []byte) []byte {
	if i := bytes.IndexAny(path, "?#;"); i >= 0 {
		path = path[:i]
	}
	for i := 0; i < len(path) && len(into) < PathLength; {
		if path[i] == '/' {
			into = append(into, '/')
			i++
			continue
		}
		from := i
		for i < len(path) && path[i] != '/' {
			i++
		}
		if part := path[from:i]; IsID(part) {
			into = append(into, ":id"...)
		} else {
			into = append(into, part...)
		}
	}
	if len(into) > PathLength {
		into = bytes.ToValidUTF8(into[:PathLength], nil)
	}
	return into
}

// IsID reports whether a part of a path names one of many: it has a digit, but
// for a version (v2), or is as long as no word.
func IsID(part []byte) bool {
	digits := 0
	for _, b := range part {
		if IsDigit(b) {
			digits++
		}
	}
	if len(part) > 40 {
		return true
	}
	if digits == 0 {
		return false
	}
	version := len(part) <= 3 && part[0]|0x20 == 'v' && digits == len(part)-1
	return !version
}
