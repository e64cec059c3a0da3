// Package house knows the shape of the tree: who may import whom, and the few
// habits that no linter knows. Its tests hold the tree against it.
package house

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"
)

// Floors give the floor of each package, and the imports that are never allowed.
type Floors struct {
	height map[string]int // by folder, or "folder/..." for all below it
	never  [][2]string
}

// ReadFloors reads the form of floors.txt.
func ReadFloors(r io.Reader) (*Floors, error) {
	f := &Floors{height: make(map[string]int)}
	lines := bufio.NewScanner(r)
	for height := 100; lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		switch {
		case words[0] == "never" && len(words) == 3:
			f.never = append(f.never, [2]string{words[1], words[2]})
			continue
		case words[0] == "floor" && len(words) > 2:
			words = words[2:]
		case (words[0] == "roof" || words[0] == "ground") && len(words) > 1:
			words = words[1:]
		default:
			return nil, fmt.Errorf("floors: %q is neither a floor nor a never", lines.Text())
		}
		height--
		for _, w := range words {
			f.height[w] = height
		}
	}
	return f, lines.Err()
}

// Of returns the floor of a folder. An exact name has precedence over
// a name for all below.
func (f *Floors) Of(dir string) (height int, ok bool) {
	if h, ok := f.height[dir]; ok {
		return h, true
	}
	for d := dir; d != "." && d != "/"; d = path.Dir(d) {
		if h, ok := f.height[d+"/..."]; ok {
			return h, true
		}
	}
	return 0, false
}

// Check returns what is wrong with one folder importing another, nil if nothing is.
func (f *Floors) Check(from, to string) error {
	above, ok := f.Of(from)
	if !ok {
		return fmt.Errorf("%s is on no floor: add it to internal/dev/house/floors.txt", from)
	}
	below, ok := f.Of(to)
	if !ok {
		return fmt.Errorf("%s is on no floor: add it to internal/dev/house/floors.txt", to)
	}
	for _, n := range f.never {
		if under(from, n[0]) && under(to, n[1]) {
			return fmt.Errorf("%s must never import %s", from, to)
		}
	}
	if below >= above {
		return fmt.Errorf("%s must not import %s: it is not on a lower floor (internal/dev/house/floors.txt)", from, to)
	}
	return nil
}

func under(dir, pattern string) bool {
	p, tree := strings.CutSuffix(pattern, "/...")
	return dir == p || tree && strings.HasPrefix(dir, p+"/")
}
