package config

// Report says which reviews are sent.
type Report struct {
	Monthly bool `yaml:"monthly" default:"false" doc:"On the first of each month at 06:00 UTC, notify of the review of the month before, with a link to it in the console, all places of notify that take info. Once a month, whatever is started again meanwhile."`
}
