package host

import "testing"

// A file system that has not answered yet is not asked again: each question
// would hold a thread for as long as the first.
func TestHungIsAskedOnce(t *testing.T) {
	h := &hung{asked: map[string]bool{"/hangs": true}}
	if h.statfs("/hangs") != nil {
		t.Error("a second question was put")
	}
	for range 2 { // and one that has answered is asked anew
		answer := h.statfs("/")
		if answer == nil {
			t.Fatal("no question was put")
		}
		if a := <-answer; a.err != nil || a.Blocks == 0 {
			t.Errorf("statfs: %+v", a)
		}
	}
}
