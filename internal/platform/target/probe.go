package target

// A Probe is one service that is asked over HTTP, TCP or TLS.
type Probe struct {
	Name   string // the server label
	URL    string // http, https, tcp or tls
	Status int    // what is expected; 0 is any 2xx
	CAFile string // certificates that are trusted beside the system's

	Redirects   string            // RedirectsNone, or else they are followed
	Body        string            // regular expression that the answer must match; "" for any
	BodyWithout string            // that it must not match; "" for none
	Headers     map[string]string // regular expressions that headers must match, by their names
}

// RedirectsNone has a redirect taken as the answer.
const RedirectsNone = "none"

// The schemes of a probe that connects, without HTTP.
const (
	SchemeTCP = "tcp"
	SchemeTLS = "tls"
)

// A Backup is a series of backups of one thing.
type Backup struct {
	Name string // the server label
	Kind string // files, rdb or pgbackrest

	// Path is a glob pattern of the files, the file of the snapshot, or pgBackRest's
	// own configuration file.
	Path     string
	Stanza   string // of pgBackRest; empty is every one
	Verified string // file whose time says when the newest backup was restored and found good
}

// Packages are the packages that a service is made of, as a report knows them.
type Packages struct {
	Name string // the server label
	Kind string // pip, npm, trivy, grype or osv
	Path string // of the report, or of the folder that is audited

	Registry string // that npm asks; "" for the public one
	Database string // Trivy's metadata.json, which says how old its database is; "" for none
}
