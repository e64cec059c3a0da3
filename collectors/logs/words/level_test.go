package words

import "testing"

func TestLevelOf(t *testing.T) {
	for value, want := range map[string]Severity{
		"error": LevelError, "ERROR": LevelError, "Err": LevelError, "fatal": LevelError, "critical": LevelError,
		"crit": LevelError, "panic": LevelError, "alert": LevelError, "emerg": LevelError, "emergency": LevelError,
		"severe": LevelError, "dpanic": LevelError, "eror": LevelError, "E": LevelError, "FTL": LevelError,
		"warning": LevelWarning, "WARN": LevelWarning, "W": LevelWarning, "info": LevelInfo, "Information": LevelInfo,
		"notice": LevelInfo, "trace": LevelDebug, "Debug": LevelDebug, "D1": LevelDebug, "DEBUG5": LevelDebug,
		"ERROR+2": LevelError, "INFO-1": LevelInfo, "WARN+3": LevelWarning,
		"\x1b[31merror\x1b[39m": LevelError, "\x1b[1;33mWARN\x1b[0m": LevelWarning,
		"0": LevelError, "3": LevelError, "4": LevelWarning, "6": LevelInfo, "7": LevelDebug, // syslog
		"10": LevelDebug, "20": LevelDebug, "30": LevelInfo, "40": LevelWarning, "50": LevelError, "60": LevelError,
		"99": LevelError, "100": LevelError, "40000": LevelError, "30000": LevelWarning, "20000": LevelInfo,
		"": Unleveled, "errors": Unleveled, "8": Unleveled, "500": Unleveled, "5x": Unleveled, "\x150": Unleveled,
		"error ": Unleveled, "emergencyy": Unleveled, "informationals": Unleveled, "ёrror": Unleveled, "-50": Unleveled,
		"no-error": Unleveled, "1000000": Unleveled, "x": Unleveled, "null": Unleveled, "{}": Unleveled,
	} {
		if got := LevelOf([]byte(value), ScaleAny); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	for _, tc := range []struct {
		value string
		scale Scale
		want  Severity
	}{
		{"40", ScalePython, LevelError}, {"30", ScalePython, LevelWarning}, {"10", ScalePython, LevelDebug},
		{"17", ScaleOTel, LevelError}, {"24", ScaleOTel, LevelError}, {"16", ScaleOTel, LevelWarning},
		{"9", ScaleOTel, LevelInfo}, {"1", ScaleOTel, LevelDebug}, {"3", ScaleSyslog, LevelError},
		{"9", ScaleSyslog, Unleveled},
	} {
		if got := LevelOf([]byte(tc.value), tc.scale); got != tc.want {
			t.Errorf("%s of scale %d: %v, want %v", tc.value, tc.scale, got, tc.want)
		}
	}
}
