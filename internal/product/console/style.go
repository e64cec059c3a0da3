package console

import _ "embed"

//go:embed page.css
var pageCSS string
