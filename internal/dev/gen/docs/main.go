// Command docs writes the reference pages and the example configuration from
// the code.
package main

import (
	"log"
	"os"
	"path/filepath"
)

func main() {
	files, err := pages()
	if err != nil {
		log.Fatal(err)
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
