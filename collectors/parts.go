package collectors

// A PartError says that one part of a target did not answer: the one whose label has the
// value. What was written of the other parts is whole.
type PartError struct {
	Label, Value string
	Err          error
}

func (e *PartError) Error() string { return e.Label + " " + e.Value + ": " + e.Err.Error() }

// Unwrap returns why it did not answer.
func (e *PartError) Unwrap() error { return e.Err }

// Parts returns the parts of a target that an error is about, and whether it is about
// nothing else.
func Parts(err error) (parts []*PartError, only bool) {
	switch e := err.(type) { //nolint:errorlint // the tree of joined errors is walked here
	case *PartError:
		return []*PartError{e}, true
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			more, only := Parts(one)
			if !only {
				return nil, false
			}
			parts = append(parts, more...)
		}
		return parts, len(parts) > 0
	}
	return nil, false
}
