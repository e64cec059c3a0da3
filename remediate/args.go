package remediate

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// StepOf makes a step whose arguments are the fields of an action's own type. Each
// field that is an argument has its name in the tag arg; one of an embedded struct
// counts as its own. A field with omitempty that is zero, and a pointer that is nil, is
// left out. In the journal, and for the plan's hash, arguments are text by name.
func StepOf[T any](do string, args T) Step {
	all := make(map[string]string)
	_ = fields(reflect.ValueOf(&args).Elem(), func(name string, optional bool, v reflect.Value) error {
		if !optional || !v.IsZero() {
			all[name] = textOf(reflect.Indirect(v))
		}
		return nil
	}) // none of them fails
	return Step{Do: do, Args: all}
}

// ArgsOf reads the arguments of a step into an action's own type, as StepOf wrote them.
// It returns an error for a step without one that is not omitempty, or has one that
// cannot be read: the plan is of another version then. Others are ignored.
func ArgsOf[T any](s Step) (args T, err error) {
	return args, fields(reflect.ValueOf(&args).Elem(), func(name string, optional bool, v reflect.Value) error {
		text, there := s.Args[name]
		switch {
		case !there && optional:
			return nil
		case !there:
			return fmt.Errorf("step %q: it has no argument %q: its plan was made by another version; plan again",
				s.Do, name)
		}
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		if err := readText(v, text); err != nil {
			return fmt.Errorf("step %q: argument %q is %q: %w", s.Do, name, text, err)
		}
		return nil
	})
}

// fields calls a function for each argument of a struct, until one fails.
func fields(v reflect.Value, do func(name string, optional bool, v reflect.Value) error) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, option, tagged := strings.Cut(f.Tag.Get("arg"), ",")
		var err error
		switch {
		case f.Anonymous && name == "":
			err = fields(v.Field(i), do)
		case name != "":
			err = do(name, tagged && option == "omitempty" || f.Type.Kind() == reflect.Pointer, v.Field(i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// textOf writes one argument.
func textOf(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			panic(fmt.Sprintf("remediate: an argument that is no text: %v", err)) // times and the like
		}
		return string(text)
	case time.Duration:
		return x.String()
	}
	return fmt.Sprint(v.Interface()) // text, numbers, true and false
}

// readText reads one argument.
func readText(v reflect.Value, text string) error {
	switch x := v.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return x.UnmarshalText([]byte(text))
	case *time.Duration:
		d, err := time.ParseDuration(text)
		*x = d
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		v.SetInt(n)
		return err
	case reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		v.SetUint(n)
		return err
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		v.SetFloat(n)
		return err
	default:
		return fmt.Errorf("a field of the type %s holds no argument", v.Type())
	}
	return nil
}

// Typed is a step with its arguments in an action's own type.
type Typed[T any] struct {
	Step

	Args T
}

// TypedOf reads the arguments of a step.
func TypedOf[T any](s Step) (Typed[T], error) {
	args, err := ArgsOf[T](s)
	return Typed[T]{s, args}, err
}
