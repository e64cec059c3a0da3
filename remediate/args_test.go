package remediate_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// What a step's own type holds is text in the journal, and comes back the same.
func TestArgs(t *testing.T) {
	type place struct {
		Schema string `arg:"schema"`
	}
	type args struct {
		place
		OID      int64         `arg:"oid"`
		Patience time.Duration `arg:"patience"`
		First    bool          `arg:"first,omitempty"`
		Share    float64       `arg:"share,omitempty"`
		At       time.Time     `arg:"at,omitempty"`
		Idle     *string       `arg:"idle"`
		Own      int
	}
	for _, test := range []struct {
		name string
		args args
		text map[string]string
	}{
		{"least", args{}, map[string]string{"schema": "", "oid": "0", "patience": "0s"}},
		{
			"all", args{place{`My "Schema"`}, 16384, 5 * time.Minute, true, 0.5, time.Unix(1, 0).UTC(), new(""), 0},
			map[string]string{"schema": `My "Schema"`, "oid": "16384", "patience": "5m0s", "first": "true",
				"share": "0.5",
				"at":    "1970-01-01T00:00:01Z", "idle": ""},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := remediate.StepOf("do", test.args)
			if !reflect.DeepEqual(s.Args, test.text) {
				t.Errorf("the arguments are %q, want %q", s.Args, test.text)
			}
			got, err := remediate.ArgsOf[args](s)
			if err != nil || !reflect.DeepEqual(got, test.args) {
				t.Errorf("read back %+v, %v, want %+v", got, err, test.args)
			}
		})
	}
	for name, text := range map[string]map[string]string{
		`no argument "patience"`: {"schema": "s", "oid": "1"},
		`"oid" is "many"`:        {"schema": "s", "oid": "many", "patience": "1s"},
	} {
		_, err := remediate.ArgsOf[args](remediate.Step{Do: "do", Args: text})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want an error with %s", err, name)
		}
	}
}
