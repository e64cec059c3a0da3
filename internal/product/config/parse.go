package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Load reads a configuration file. Its error holds everything that is wrong,
// a line each: file:line: what is wrong; what was expected.
func Load(path string, known Known) (*Config, error) {
	c, _, err := Read(path, known)
	return c, err
}

// Read is Load, and returns where each part is in the file.
func Read(path string, known Known) (*Config, *Source, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("configuration file %s does not exist; name one with --config, or start with "+
			"this:\n%s", path, beginning)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	return ParseSource(path, text, known)
}

// Parse reads a configuration; name precedes the line in errors, and
// relative paths start at its folder.
func Parse(name string, text []byte, known Known) (*Config, error) {
	c, _, err := ParseSource(name, text, known)
	return c, err
}

// ParseSource is Parse, and returns where each part is in the text.
func ParseSource(name string, text []byte, known Known) (*Config, *Source, error) {
	d := &decoder{name: name, dir: filepath.Dir(name), known: known}
	c := new(Config)
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil, fmt.Errorf("%s:1: the configuration is empty; at least one target is expected:\n%s", name,
			beginning)
	case err != nil:
		return nil, nil, fmt.Errorf("%s:%w", name, yamlError(err))
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		d.fault(&second, "a second document begins here; one was expected")
	}
	d.root(c, &doc)
	if err := errors.Join(d.faults...); err != nil {
		return nil, nil, err
	}
	return c, &Source{name: name, root: resolve(doc.Content[0])}, nil
}

func (d *decoder) root(c *Config, doc *yaml.Node) {
	n := resolve(doc.Content[0])
	placesAlone(n)
	d.object(n, reflect.ValueOf(c).Elem(), "the configuration")
	d.whole(c, n)
}
