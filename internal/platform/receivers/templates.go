package receivers

import (
	_ "embed"
)

// ownTemplates are the texts of upkeep's own notifications under Alertmanager's names.
//
//go:embed notification.tmpl
var ownTemplates string
