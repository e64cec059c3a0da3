package console

import (
	"io"

	. "maragu.dev/gomponents"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// render writes a page. Its texts are escaped as HTML already; letters that turn the direction
// of what follows, or show nothing, become visible.
func render(w io.Writer, page Node) error { return page.Render(visible.NewWriter(w)) }
