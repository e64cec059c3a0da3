package words_test

import (
	"testing"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

func TestColouredLevel(t *testing.T) {
	for line, want := range map[string]words.Severity{
		"\x1b[90mseats \x1b[39m\x1b[31merror\x1b[39m no":      words.LevelError,
		"\x1b[37;40mseats\x1b[0m \x1b[34;40mdebug\x1b[39m no": words.LevelDebug,
		"\x1b[1m\x1b[33mwarn\x1b[39m\x1b[22m: no":             words.LevelWarning,
		"\x1b[31merror\x1b[0m":                                words.LevelError,
		"seats error no":                                      words.Unleveled,
		"\x1b[31mno error\x1b[0m":                             words.Unleveled,
		"\x1b[31merror of the page\x1b[0m":                    words.Unleveled,
		"\x1b[31merror\x1b[0ms are gone":                      words.Unleveled,
		"GET /\x1b[31merror\x1b[0m ":                          words.Unleveled,
		"\"\x1b[31merror\x1b[0m ":                             words.Unleveled,
		"\x1b[2J\x1b[31merror\x1b[0m no":                      words.LevelError,
		"\x1b":                                                words.Unleveled, "\x1b[": words.Unleveled, "\x1b[31m": words.Unleveled, "": words.Unleveled,
	} {
		if got := words.ColouredLevel([]byte(line)); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

func TestIsCode(t *testing.T) {
	for word, want := range map[string]bool{"CWWKO0801E": true, "AH00526": true, "AH526": false, "AH12345": false, "0123": false,
		"A0123": false, "AH0123e": false, "AH01234EE": false, "": false} {
		if got := words.IsCode([]byte(word)); got != want {
			t.Errorf("%q: %v", word, got)
		}
	}
}
