package logs

import (
	"strings"
	"testing"
)

func TestLevelOf(t *testing.T) {
	for value, want := range map[string]severity{
		"error": levelError, "ERROR": levelError, "Err": levelError, "fatal": levelError, "critical": levelError,
		"crit": levelError, "panic": levelError, "alert": levelError, "emerg": levelError, "emergency": levelError,
		"severe": levelError, "dpanic": levelError, "eror": levelError, "E": levelError, "FTL": levelError,
		"warning": levelWarning, "WARN": levelWarning, "W": levelWarning, "info": levelInfo, "Information": levelInfo,
		"notice": levelInfo, "trace": levelDebug, "Debug": levelDebug, "D1": levelDebug, "DEBUG5": levelDebug,
		"ERROR+2": levelError, "INFO-1": levelInfo, "WARN+3": levelWarning,
		"\x1b[31merror\x1b[39m": levelError, "\x1b[1;33mWARN\x1b[0m": levelWarning,
		"0": levelError, "3": levelError, "4": levelWarning, "6": levelInfo, "7": levelDebug, // syslog
		"10": levelDebug, "20": levelDebug, "30": levelInfo, "40": levelWarning, "50": levelError, "60": levelError,
		"99": levelError, "100": levelError, "40000": levelError, "30000": levelWarning, "20000": levelInfo,
		"": unleveled, "errors": unleveled, "8": unleveled, "500": unleveled, "5x": unleveled, "\x150": unleveled,
		"error ": unleveled, "emergencyy": unleveled, "informationals": unleveled, "ёrror": unleveled, "-50": unleveled,
		"no-error": unleveled, "1000000": unleveled, "x": unleveled, "null": unleveled, "{}": unleveled,
	} {
		if got := levelOf([]byte(value), scaleAny); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	for _, tc := range []struct {
		value string
		scale scale
		want  severity
	}{
		{"40", scalePython, levelError}, {"30", scalePython, levelWarning}, {"10", scalePython, levelDebug},
		{"17", scaleOTel, levelError}, {"24", scaleOTel, levelError}, {"16", scaleOTel, levelWarning},
		{"9", scaleOTel, levelInfo}, {"1", scaleOTel, levelDebug}, {"3", scaleSyslog, levelError},
		{"9", scaleSyslog, unleveled},
	} {
		if got := levelOf([]byte(tc.value), tc.scale); got != tc.want {
			t.Errorf("%s of scale %d: %v, want %v", tc.value, tc.scale, got, tc.want)
		}
	}
}

func TestFirstLevel(t *testing.T) {
	for line, want := range map[string]severity{
		"ERROR: relation does not exist":                          levelError,
		"2026-01-02 03:04:05 UTC [7] FATAL:  no":                  levelError,
		"[error] upstream":                                        levelError,
		"level=error msg=x":                                       levelError,
		`time=1 level="fatal" msg=x`:                              levelError,
		"lvl=crit":                                                levelError,
		"error: a line begins with it":                            levelError,
		"2026-01-02 03:04:05 error: behind the time":              levelError,
		"INFO retry after ERROR from peer":                        levelInfo,
		"[Sat Nov 28 10:00:00.1 2026] [core:error] [pid 1] ERROR": levelError,
		"[mpm_event:notice] [pid 1] ERROR":                        levelInfo,
		"2026 LOG:  ERROR: of a client":                           levelInfo,
		"no error was found":                                      unleveled,
		"there was an error: in small letters within a sentence":  unleveled,
		"[ error ] spaced":                                        unleveled,
		"INFO: nothing":                                           levelInfo,
		"ERRORS: 0":                                               unleveled,
		"ERROR_COUNT=0":                                           unleveled,
		"MODE=ERROR":                                              unleveled,
		"GET /errors/ALERT HTTP/1.1":                              unleveled,
		"starting with --log-level=error":                         unleveled,
		"":                                                        unleveled,
		strings.Repeat(".", levelWithin-5) + "ERROR":              levelError,
		strings.Repeat(".", levelWithin-4) + "ERROR":              unleveled, // too far
		strings.Repeat(".", levelWithin+1) + " ERROR: x":          unleveled,
	} {
		if got := firstLevel([]byte(line)); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
