package config

// A Token is a bearer token with what its holder may do.
type Token struct {
	Name string `yaml:"name" required:"a name, which the journal records" doc:"Name that the journal records for requests with this token."`
	Role string `yaml:"role" required:"a role" enum:"deliver|view|operate|approve|admin" doc:"What its holder may do: docs/access.md."`
	File string `yaml:"file" check:"path" doc:"File with the token, read anew when it changes: head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE."`
	Env  string `yaml:"env" doc:"Environment variable with the token, instead of a file."`
}

// Approvals says who may approve.
type Approvals struct {
	OtherPerson bool `yaml:"other_person" default:"false" doc:"The identity that requested a run must not approve it. A signed link then asks for a login first, since it has no name."`
}
