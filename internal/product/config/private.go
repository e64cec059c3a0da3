package config

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// CommandKey is the key of a program, with its arguments, that writes a secret.
const CommandKey = "password_command"

// SecretKey reports whether a key names a file with a secret.
func SecretKey(key string) bool {
	return slices.Contains(
		[]string{"password_file", "token_file", "secret_file", "key_id_file", "url_file", "key_file", "file"},
		key,
	)
}

// Private refuses a configuration that names a secret which other users of the machine can
// read or write, or a program that they can write. What is not there is said where it is read.
func (c *Config) Private() error { return private(reflect.ValueOf(*c)) }

func private(v reflect.Value) (err error) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(v.Type()) {
			key := f.Tag.Get("yaml")
			if key == "" || !f.IsExported() {
				continue
			}
			value := v.FieldByIndex(f.Index)
			if command, ok := value.Interface().([]string); ok && key == CommandKey && len(command) > 0 {
				if is := files.Ours(command[0]); is != nil && !errors.Is(is, fs.ErrNotExist) {
					err = errors.Join(err, fmt.Errorf("%s: %w", key, is))
				}
			}
			if value.Kind() != reflect.String || !SecretKey(key) || value.String() == "" {
				err = errors.Join(err, private(value))
				continue
			}
			if is := files.Secret(value.String()); is != nil && !errors.Is(is, fs.ErrNotExist) {
				err = errors.Join(err, fmt.Errorf("%s: %w", key, is))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			err = errors.Join(err, private(v.Index(i)))
		}
	default: // it has no keys
	}
	return err
}
