package remediate_test

import (
	"testing"

	"github.com/ai-micro-service/upkeep/remediate"
)

func TestActionFor(t *testing.T) {
	a := remediate.Action{Lowers: "a_bytes", LowersBy: map[string]string{"because=b": "b_bytes"}}
	for _, test := range []struct {
		params map[string]string
		want   string
	}{
		{nil, "a_bytes"},
		{map[string]string{"because": "a"}, "a_bytes"},
		{map[string]string{"because": "b", "patience": "5m"}, "b_bytes"},
		{map[string]string{"patience": "b"}, "a_bytes"},
	} {
		if got := a.For(remediate.Request{Params: test.params}).Lowers; got != test.want {
			t.Errorf("%v lowers %s, want %s", test.params, got, test.want)
		}
	}
	if a.Lowers != "a_bytes" {
		t.Error("the action itself has changed")
	}
}
